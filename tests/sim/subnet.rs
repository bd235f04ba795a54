//! Small subnets on a made-up clock: what must hold at every size, from several seeds.
//! The benchmark `subnet` tells the same story of thousands of nodes.

use std::time::Duration;

use potluck_tests::subnet::{Kind, Report, Story, SubnetSettings};

/// Peers that a node may take, and looks for.
const MAX_PEERS: usize = 32;
const LOOKED_FOR: usize = 24;
/// A question asks for as many answers as peers are looked for; chance may give more.
const MOST_ANSWERS: u64 = 49;

fn settings(nodes: usize, loss: f64, seed: u64) -> SubnetSettings {
    SubnetSettings {
        nodes,
        loss,
        seed,
        max_peers: MAX_PEERS,
    }
}

/// Runs a check on the story of a start and a minute after it, for some seeds. What
/// fails says which one.
fn after_a_start(nodes: usize, loss: f64, check: impl Fn(&Report) + std::panic::RefUnwindSafe) {
    for seed in 1..=3 {
        let mut story = Story::new(settings(nodes, loss, seed));
        story.boot();
        story.rest("minute", Duration::from_secs(60));
        judge(&story.report(), &check);
    }
}

fn judge(report: &Report, check: &(impl Fn(&Report) + std::panic::RefUnwindSafe)) {
    if let Err(failure) = std::panic::catch_unwind(|| check(report)) {
        eprintln!("{:?}\n{}\n{report}", report.settings, Report::HEADER);
        std::panic::resume_unwind(failure);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let tell = |seed| Story::tell(settings(30, 0.3, seed), Duration::from_secs(60)).to_string();
    assert_eq!(tell(1), tell(1));
    assert_ne!(tell(1), tell(2));
}

#[test]
fn everybody_finds_peers() {
    for (nodes, loss, limit) in [
        (2, 0.0, 2),
        (10, 0.0, 2),
        (10, 0.3, 5),
        (100, 0.0, 3),
        (100, 0.3, 3),
    ] {
        after_a_start(nodes, loss, |report| {
            let boot = report.part("boot").unwrap();
            let times = boot.until.as_ref().unwrap();
            assert_eq!(times.missing, 0, "{nodes} nodes, loss {loss}");
            assert!(times.slowest <= Duration::from_secs(limit), "{times}");
        });
    }
}

#[test]
fn nobody_leaves_a_list_while_it_is_there() {
    for (nodes, loss) in [(10, 0.0), (40, 0.3), (80, 0.05)] {
        after_a_start(nodes, loss, |report| {
            for part in &report.parts {
                assert_eq!(part.false_removals, [], "{}", part.name);
            }
        });
    }
}

#[test]
fn a_crowd_makes_no_storm() {
    for nodes in [40, 100, 200] {
        after_a_start(nodes, 0.0, |report| {
            let boot = &report.part("boot").unwrap().traffic;
            assert!(boot.most_answers <= MOST_ANSWERS, "{}", boot.most_answers);
            // Some HELLOs of each, and a question of some.
            assert!(boot.peak <= 20 * nodes as u64, "{}", boot.peak);
            assert_eq!(boot.unread, 0);
        });
    }
}

#[test]
fn the_whole_site_announces_itself_at_one_rate() {
    for nodes in [30, 100] {
        let mut story = Story::new(settings(nodes, 0.0, 1));
        story.boot();
        story.rest("first minutes", Duration::from_secs(300));
        story.rest("steady", Duration::from_secs(300));
        judge(&story.report(), &|report: &Report| {
            let steady = report.part("steady").unwrap();
            // Two in a second.
            let hellos = steady.traffic.sent_of(Kind::Hello);
            assert!((300..=900).contains(&hellos), "{hellos}");
            assert_eq!(steady.traffic.sent_of(Kind::Probe), 0);
            assert!(steady.bytes_received() < 1000.0, "a node gets too much");
        });
    }
}

#[test]
fn those_who_vanish_are_noticed() {
    for (nodes, seed) in [(20, 1), (80, 2)] {
        let mut story = Story::new(settings(nodes, 0.05, seed));
        story.boot();
        story.rest("minute", Duration::from_secs(60));
        story.vanish();
        let left = story.subnet().nodes().count();
        for (_, node) in story.subnet().nodes() {
            let enough = LOOKED_FOR.min(left - 1);
            assert!(
                node.listed().len() >= enough,
                "seed {seed}: {:?}",
                node.listed()
            );
        }
        judge(&story.report(), &|report: &Report| {
            let part = report.part("tenth vanishes").unwrap();
            let times = part.until.as_ref().unwrap();
            assert_eq!(times.missing, 0);
            // A silent peer is asked after 15 s and has 10 s to answer.
            assert!(times.slowest <= Duration::from_secs(27), "{times}");
            assert_eq!(part.false_removals, []);
        });
    }
}

#[test]
fn a_site_that_was_split_becomes_whole_again() {
    // The larger ones have peers enough in each half.
    for (nodes, seed) in [(12, 1), (12, 2), (12, 3), (100, 1), (100, 2), (200, 1)] {
        let mut story = Story::new(settings(nodes, 0.05, seed));
        story.boot();
        story.rest("minute", Duration::from_secs(60));
        story.split();
        story.heal();
        judge(&story.report(), &|report: &Report| {
            let split = report.part("split").unwrap().until.as_ref().unwrap();
            assert_eq!(split.missing, 0);
            let healed = report.part("healed").unwrap().until.as_ref().unwrap();
            assert_eq!(healed.missing, 0, "it stays split");
        });
    }
}

#[test]
fn a_goodbye_is_believed_once_it_is_true() {
    let mut story = Story::new(settings(20, 0.0, 4));
    story.boot();
    story.stop(7);
    story.rest("goodbye", Duration::from_secs(1));
    for (place, node) in story.subnet().nodes() {
        assert!(!node.listed().contains(&7), "{place} still lists it");
    }
}
