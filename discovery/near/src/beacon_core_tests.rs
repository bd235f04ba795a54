use super::*;
use crate::beacon::tests::{beacon, peer};

const FROM: Origin = Origin {
    interface: 1,
    address: SocketAddr::new(
        std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9)),
        4000,
    ),
};

fn need(wanted: u16) -> Option<Need> {
    Some(Need {
        wanted,
        known: Vec::new(),
    })
}

/// A node that has heard all others of a subnet with `population` nodes.
fn settled(me: u64, population: u64, now: Instant) -> BeaconCore {
    let mut core = BeaconCore::new(peer(me), me, now);
    for other in 0..3 {
        let mut heard = beacon(peer(1_000_000 + other), BeaconMessage::Hello);
        heard.population = u32::try_from(population).unwrap();
        core.handle_beacon(&heard, FROM, now);
    }
    core
}

/// The actions up to `end`, with their times.
fn run(core: &mut BeaconCore, end: Instant) -> Vec<(Instant, BeaconAction)> {
    let mut done = Vec::new();
    while core.poll_timeout() <= end {
        let now = core.poll_timeout();
        core.handle_timeout(now);
        while let Some(action) = core.poll_action() {
            done.push((now, action));
        }
        assert!(core.poll_timeout() > now, "the timer must move on");
    }
    done
}

fn probes(done: &[(Instant, BeaconAction)]) -> Vec<Instant> {
    let probes = done
        .iter()
        .filter(|(_, action)| matches!(action, BeaconAction::Probe(_)));
    probes.map(|(at, _)| *at).collect()
}

#[test]
fn about_as_many_answer_as_are_wanted() {
    for population in [10_u64, 30, 100, 300, 1000] {
        let now = Instant::now();
        let probe = BeaconMessage::Probe {
            wanted: 24,
            known: Vec::new(),
        };
        let mut answers = 0;
        for me in 0..population - 1 {
            let mut core = settled(me, population, now);
            core.handle_beacon(&beacon(peer(2_000_000), probe.clone()), FROM, now);
            // The same question by another link.
            core.handle_beacon(&beacon(peer(2_000_000), probe.clone()), FROM, now);
            let done = run(&mut core, now + MAX_ANSWER_DELAY);
            answers += done
                .iter()
                .filter(|(_, action)| matches!(action, BeaconAction::Answer(_)))
                .count();
        }
        let expected = 24.min(usize::try_from(population - 1).unwrap());
        let spread = if population <= 24 { 0 } else { 15 };
        assert!(
            answers.abs_diff(expected) <= spread,
            "{answers} answers of {population} nodes"
        );
    }
}

#[test]
fn the_known_and_the_full_do_not_answer() {
    let now = Instant::now();
    let mut core = BeaconCore::new(peer(1), 1, now);
    let mut asking = 1;
    let mut probe = |core: &mut BeaconCore, known| {
        asking += 1;
        let message = BeaconMessage::Probe { wanted: 24, known };
        core.handle_beacon(&beacon(peer(asking), message), FROM, now);
        let done = run(core, now + MAX_ANSWER_DELAY);
        done.iter().any(|(_, a)| *a == BeaconAction::Answer(FROM))
    };
    run(&mut core, now);
    core.next_hello = now;
    assert!(!probe(&mut core, vec![ShortHash::of(&peer(1), 1)]));
    core.next_hello = now;
    assert!(probe(&mut core, vec![ShortHash::of(&peer(9), 1)]));
    core.next_hello = now;
    core.handle_room(false);
    assert!(!probe(&mut core, Vec::new()));
}

#[test]
fn a_flood_of_questions_draws_a_bounded_number_of_answers() {
    let now = Instant::now();
    let mut core = BeaconCore::new(peer(1), 1, now);
    for n in 0..1000 {
        let message = BeaconMessage::Probe {
            wanted: 1000,
            known: Vec::new(),
        };
        core.handle_beacon(&beacon(peer(2 + n), message), FROM, now);
    }
    assert!(core.answers.len() <= ANSWER_BURST as usize + 1);
}

#[test]
fn announces_itself_a_few_times_and_then_seldom() {
    let now = Instant::now();
    let mut small = settled(1, 3, now);
    let done = run(&mut small, now + Duration::from_secs(600));
    let early = done
        .iter()
        .filter(|(at, _)| *at < now + Duration::from_secs(10));
    assert_eq!(early.count(), 4);
    assert!((18..=30).contains(&done.len()), "{} in 10 min", done.len());

    let mut large = settled(1, 1000, now);
    let done = run(&mut large, now + Duration::from_secs(600));
    assert!(done.len() <= 6, "{} in 10 min among 1000", done.len());
}

#[test]
fn asks_only_when_peers_are_missing_and_ever_more_seldom() {
    let now = Instant::now();
    let mut core = BeaconCore::new(peer(1), 1, now);
    let done = run(&mut core, now + Duration::from_secs(100));
    assert!(probes(&done).is_empty());

    let mut core = BeaconCore::new(peer(1), 1, now);
    core.handle_need(need(24), now);
    let done = run(&mut core, now + Duration::from_secs(3600));
    let times = probes(&done);
    assert!(times[0] - now <= 3 * FIRST_PROBE);
    assert!((15..=30).contains(&times.len()), "{} PROBEs", times.len());
    assert!(times[1] - times[0] >= MIN_PROBE_INTERVAL);
}

#[test]
fn a_nudge_brings_the_next_question_forward_but_not_too_near() {
    let now = Instant::now();
    let mut core = BeaconCore::new(peer(1), 1, now);
    core.handle_need(need(24), now);
    let first = probes(&run(&mut core, now + FIRST_PROBE * 3))[0];
    for _ in 0..10 {
        core.handle_nudge(first);
    }
    assert_eq!(core.next_probe, first + MIN_PROBE_INTERVAL);
    let later = first + Duration::from_secs(2000);
    run(&mut core, later);
    core.handle_nudge(later);
    assert_eq!(core.poll_timeout(), later);
}

#[test]
fn who_said_goodbye_is_not_counted() {
    let now = Instant::now();
    let mut core = BeaconCore::new(peer(1), 1, now);
    core.handle_beacon(&beacon(peer(2), BeaconMessage::Hello), FROM, now);
    assert_eq!(core.population(), 2);
    core.handle_beacon(&beacon(peer(2), BeaconMessage::Bye), FROM, now);
    assert_eq!(core.population(), 1);
    core.handle_stop();
    assert_eq!(core.poll_action(), Some(BeaconAction::Bye));
}
