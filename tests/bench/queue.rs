//! Ten thousand queued jobs of ten files: how fast they are made, beside a plain loop
//! that makes one small file durable after the other; how soon a daemon that has them is
//! ready; what memory they take; how long the schedule decides. Run by `tests/bench/run`.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use potluck_plan::{JobFiles, JobKey, JobLimits, JobMachine, JobTimes, Priority, Schedule};
use potluck_tests::{Control, Cost, Lab, Node, until};
use serde_json::{Value, json};

const JOBS: usize = 10_000;
const FILES: usize = 10;
const ROUNDS: usize = 10;
/// Jobs of a round that are made one after the other.
const SINGLE: usize = 200;
/// The others of a round, in one call.
const TOGETHER: usize = JOBS / ROUNDS - SINGLE;

fn main() -> Result<()> {
    let lab = Lab::on_loopback()?;
    let mut node = Node::new(&lab, &lab.host("a")?, &[])?;
    node.start()?;
    // Nobody answers there: the first job waits for that, the others for their turn.
    let silent = TcpListener::bind((node.host().address(), 0))?;
    let origin = format!("http://{}", silent.local_addr()?);
    let plain = lab.subdir("plain")?;
    let mut control = Control::connect(&node.socket())?;

    let fresh = Cost::of(node.daemon()?.pid())?.resident;
    let mut rates = [const { Vec::new() }; 3];
    for round in 0..ROUNDS {
        let first = round * (SINGLE + TOGETHER);
        let record = serde_json::to_vec(&job(&origin, &node, first)?)?;
        rates[0].push(rate(SINGLE, |number| {
            write_durably(&plain, first + number, &record)
        })?);
        rates[1].push(rate(SINGLE, |number| {
            let job = job(&origin, &node, first + number)?;
            control.post("/v1/jobs", &job).map(drop)
        })?);
        let jobs: Result<Vec<Value>> = (first + SINGLE..first + SINGLE + TOGETHER)
            .map(|number| job(&origin, &node, number))
            .collect();
        let body = json!({ "jobs": jobs? });
        let start = Instant::now();
        control.post("/v1/jobs/batch", &body)?;
        rates[2].push(TOGETHER as f64 / start.elapsed().as_secs_f64());
    }
    println!("{JOBS} jobs of {FILES} files, {ROUNDS} rounds, median\n");
    println!("| way | each second | of the plain loop |");
    println!("|---|---|---|");
    let medians = rates.map(median);
    let ways = [
        "plain loop: write, sync, rename, sync the directory",
        "one call for each job",
        "800 jobs in a call",
    ];
    for (way, rate) in ways.iter().zip(medians) {
        println!("| {way} | {rate:.0} | {:.2} |", rate / medians[0]);
    }

    println!("\n| with {JOBS} jobs | |");
    println!("|---|---|");
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let full = Cost::of(node.daemon()?.pid())?.resident;
    println!("| resident before the first | {:.0} MiB |", mib(fresh));
    println!("| resident with all | {:.0} MiB |", mib(full));
    node.kill()?;
    let mut times = Vec::new();
    for _ in 0..5 {
        times.push(start_and_look(&mut node)?);
        let again = Cost::of(node.daemon()?.pid())?.resident;
        if times.len() == 1 {
            println!("| resident after a restart | {:.0} MiB |", mib(again));
        }
        node.kill()?;
    }
    times.sort_unstable();
    println!(
        "| from the start of the process to the first answer about a job | {:.2} s, the slowest {:.2} s |",
        times[2].as_secs_f64(),
        times[4].as_secs_f64()
    );
    decisions();
    Ok(())
}

fn job(origin: &str, node: &Node, number: usize) -> Result<Value> {
    let dir = node.downloads()?;
    let files: Vec<Value> = (0..FILES)
        .map(|file| {
            json!({
                "url": format!("{origin}/packages/pool/{number}/{file}.tar.zst"),
                "path": dir.join(format!("{number}-{file}.tar.zst")),
            })
        })
        .collect();
    Ok(json!({ "name": format!("number {number}"), "start": true, "files": files }))
}

/// How many each second, of so many.
fn rate(count: usize, mut work: impl FnMut(usize) -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    for number in 0..count {
        work(number)?;
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

fn write_durably(dir: &Path, number: usize, bytes: &[u8]) -> Result<()> {
    let (new, name) = (dir.join("new"), dir.join(number.to_string()));
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(new, name)?;
    Ok(File::open(dir)?.sync_all()?)
}

/// Until a daemon that is started now answers about its jobs. All of them must be there.
fn start_and_look(node: &mut Node) -> Result<Duration> {
    let start = Instant::now();
    node.spawn()?;
    let socket = node.socket();
    let mut control = until(Duration::from_secs(60), "the control socket", || {
        Ok(Control::connect(&socket).ok())
    })?;
    // No job has such an id: the answer says that they were looked through.
    ensure!(control.get("/v1/jobs/ffffffffffffffff").is_err());
    let took = start.elapsed();
    let jobs = fs::read_dir(node.data_dir().join("jobs"))?.count();
    ensure!(jobs > 0, "no job is kept");
    let left = count_jobs(&mut Control::connect(&socket)?)?;
    ensure!(left == JOBS, "{left} jobs are left");
    Ok(took)
}

/// Reads the list of jobs page by page.
fn count_jobs(control: &mut Control) -> Result<usize> {
    let (mut count, mut path) = (0, "/v1/jobs?brief=true".to_owned());
    loop {
        let list = control.get(&path)?;
        let list = list.as_array().context("a list")?;
        let Some(last) = list.last() else {
            return Ok(count);
        };
        count += list.len();
        let id = last["id"].as_str().context("its id")?;
        path = format!("/v1/jobs?brief=true&after={id}");
    }
}

/// What one decision takes with so many jobs: one is done, another begins.
fn decisions() {
    let now = SystemTime::now();
    let mut schedule = Schedule::new(JobLimits::default(), Duration::from_secs(300));
    let times = JobTimes::default();
    let files = JobFiles {
        total: FILES,
        transferred: 0,
    };
    let mut machines = Vec::new();
    for number in 0..JOBS as u64 {
        let mut machine = JobMachine::new(now);
        machine.resume(files, now).expect("it is new");
        schedule.restore(JobKey(number), 0, Priority::Normal);
        schedule.follow(JobKey(number), &machine, &times, now);
        machines.push(machine);
    }
    while schedule.poll_action().is_some() {}
    let mut took = Vec::with_capacity(JOBS);
    for number in 0..JOBS as u64 {
        let machine = &mut machines[number as usize];
        machine.suspend(now).expect("it is queued");
        let start = Instant::now();
        schedule.follow(JobKey(number), machine, &times, now);
        let action = schedule.poll_action();
        let timeout = schedule.poll_timeout();
        took.push(start.elapsed());
        std::hint::black_box((action, timeout));
    }
    took.sort_unstable();
    println!(
        "| a decision of the schedule | {:.1} µs, 99 of 100 within {:.1} µs |",
        took[JOBS / 2].as_secs_f64() * 1e6,
        took[JOBS * 99 / 100].as_secs_f64() * 1e6
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
