//! Playing a scene.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::crew::Crew;
use super::{Outcome, Part, Scene, Site, System, bound};
use crate::{Cost, Lab, Nginx, children_cpu, forget_peak, peak_memory, until};

const GIB: f64 = (1 << 30) as f64;
/// How exact a finish is told.
const LOOK: Duration = Duration::from_millis(5);
/// For the hosts that have everything before the beginning.
const TO_GET_READY: Duration = Duration::from_secs(120);

/// Plays a scene once, in a lab of network namespaces that nothing else uses. Fails when
/// a host that lives does not get everything, byte for byte.
pub fn measure(lab: &Lab, scene: &Scene, system: System) -> Result<Outcome> {
    let site = Site::new(lab, scene)?;
    let mut crew = system.crew(&site, scene)?;
    get_ready(&site, scene, crew.as_mut())?;
    site.limit(scene)?;
    let logged = settled(site.nginx())?;
    let sent = site.origin().sent_on_wire()?;
    for pid in crew.pids() {
        forget_peak(pid)?;
    }
    let spent = cpu(crew.as_mut())?;

    let finishes = play(&site, scene, crew.as_mut())?;

    let spent = cpu(crew.as_mut())?.saturating_sub(spent);
    let sent = site.origin().sent_on_wire()? - sent;
    let peaks = crew.pids().into_iter().map(peak_memory);
    let memory = peaks.collect::<Result<Vec<u64>>>()?.into_iter().max();
    let of = |counts: bool| {
        let of_those = scene.parts.iter().zip(&finishes);
        let mut times: Vec<Duration> = of_those
            .filter(|(part, _)| part.counts == counts)
            .filter_map(|(_, finish)| *finish)
            .collect();
        times.sort_unstable();
        times
    };
    let came: Vec<usize> = (0..finishes.len())
        .filter(|&host| finishes[host].is_some())
        .collect();
    let delivered = (site.load().size() * came.len() as u64) as f64;
    let sources = crew.sources(&came)?;
    for (host, part) in scene.parts.iter().enumerate() {
        if part.dies.is_none() {
            site.load().check(&crew.output(&site, host))?;
        }
    }
    // The log has a line for a request when it is over.
    drop(crew);
    settled(site.nginx())?;
    let body_bytes = site.nginx().body_bytes_since(logged)?;
    Ok(Outcome {
        copies: sent as f64 / site.copy(),
        body_copies: body_bytes as f64 / site.load().size() as f64,
        body_bytes,
        finishes: of(true),
        apart: of(false),
        bound: bound(site.copy() * 8.0, scene.origin_up as f64, &scene.links()),
        cpu_per_gib: spent.as_secs_f64() / (delivered / GIB),
        memory,
        sources,
    })
}

/// Those that have everything from the beginning get it, over links without limits.
fn get_ready(site: &Site<'_>, scene: &Scene, crew: &mut dyn Crew) -> Result<()> {
    let holders: Vec<usize> = (0..scene.parts.len())
        .filter(|&host| scene.parts[host].starts.is_none())
        .collect();
    for &host in &holders {
        crew.begin(site, host)?;
    }
    for host in holders {
        until(TO_GET_READY, "a host that is to have the files", || {
            Ok(crew.is_done(host)?.then_some(()))
        })?;
        site.load().check(&crew.output(site, host))?;
    }
    Ok(())
}

/// When each host had everything; nothing for those that died or had it before.
fn play(site: &Site<'_>, scene: &Scene, crew: &mut dyn Crew) -> Result<Vec<Option<Duration>>> {
    let limit = patience(scene, site.copy());
    let mut states: Vec<State> = scene.parts.iter().map(State::before).collect();
    let began = Instant::now();
    while !states.iter().all(State::is_over) {
        for (host, (part, state)) in scene.parts.iter().zip(&mut states).enumerate() {
            let now = began.elapsed();
            if *state == State::Waits && part.starts.is_some_and(|at| at <= now) {
                crew.begin(site, host)?;
                *state = State::Gets;
            }
            if *state == State::Gets && part.dies.is_some_and(|at| at <= now) {
                crew.kill(host)?;
                *state = State::Dead;
            }
            if *state == State::Gets && part.dies.is_none() && crew.is_done(host)? {
                *state = State::Has(began.elapsed());
            }
        }
        ensure!(
            began.elapsed() < limit,
            "after {limit:?} not everybody had everything: {states:?}"
        );
        std::thread::sleep(LOOK);
    }
    let finish = |state: State| match state {
        State::Has(at) => Some(at),
        _ => None,
    };
    Ok(states.into_iter().map(finish).collect())
}

/// Three times what it takes without any help.
fn patience(scene: &Scene, copy: f64) -> Duration {
    let direct = copy * 8.0 / scene.origin_up as f64 * scene.parts.len() as f64;
    let last = scene.parts.iter().filter_map(|part| part.starts).max();
    Duration::from_secs_f64(direct * 3.0) + Duration::from_secs(60) + last.unwrap_or_default()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Has everything from the beginning.
    Gives,
    Waits,
    Gets,
    Has(Duration),
    Dead,
}

impl State {
    fn before(part: &Part) -> Self {
        match part.starts {
            Some(_) => Self::Waits,
            None => Self::Gives,
        }
    }

    fn is_over(&self) -> bool {
        !matches!(self, Self::Waits | Self::Gets)
    }
}

/// Of the programs that run and of those that have ended.
fn cpu(crew: &mut dyn Crew) -> Result<Duration> {
    let mut sum = children_cpu()?;
    for pid in crew.pids() {
        sum += Cost::of(pid).context("a program on a host")?.cpu;
    }
    Ok(sum)
}

/// Waits until the origin's log does not grow any more; the number of its lines.
fn settled(nginx: &Nginx) -> Result<usize> {
    let (mut lines, mut since) = (0, Instant::now());
    until(Duration::from_secs(10), "the origin's log to rest", || {
        let now = nginx.requests()?.len();
        if now != lines {
            (lines, since) = (now, Instant::now());
        }
        Ok((since.elapsed() > Duration::from_millis(300)).then_some(lines))
    })
}
