//! Crowds that want the same file at the same time, on a made-up clock: what must hold
//! whatever the seed. The benchmark `crowd_sim` tells of thousands of hosts.

use std::time::Duration;

use potluck_plan::{OriginUse, Rate, ServeLimits};
use potluck_tests::crowd_sim::{
    Crowd, CrowdReport, CrowdSettings, Fate, HostSettings, Manner, least_time, mbit,
};

/// Looks at what came of a crowd, and says of which when it is not as it should be.
fn judge(name: &str, seed: u64, report: &CrowdReport, holds: bool) {
    let right = report.counted().all(|host| host.wrong_pieces == 0);
    assert!(
        holds && right && report.all_finished(),
        "{name}, seed {seed}\n{}\n{report}",
        CrowdReport::HEADER
    );
}

#[test]
fn a_cold_crowd_costs_the_origin_one_copy_and_little_more_than_the_least_time() {
    for hosts in [4, 8, 16, 32] {
        let report = Crowd::run(CrowdSettings::cold(hosts, 1));
        let holds = report.copies <= 1.02 && report.times_bound() <= 1.10;
        judge("cold", 1, &report, holds);
    }
}

#[test]
fn copies_do_not_grow_with_a_crowd_of_which_nobody_sees_all() {
    let crowd = CrowdSettings {
        // Everybody knows eight of forty.
        peers: 8,
        ..CrowdSettings::cold(40, 1)
    };
    let report = Crowd::run(crowd);
    let holds = report.copies <= 1.1 && report.times_bound() <= 1.2;
    judge("thin", 1, &report, holds);
}

/// Eight hosts that begin at random within ten seconds.
fn staggered(seed: u64) -> CrowdSettings {
    let mut crowd = CrowdSettings::cold(8, seed);
    let mut random = fastrand::Rng::with_seed(seed);
    for host in &mut crowd.hosts {
        host.starts = Duration::from_millis(random.u64(0..10_000));
    }
    crowd
}

/// Nine begin; three of them are killed in the middle and two others begin.
fn churned(seed: u64) -> CrowdSettings {
    let mut crowd = CrowdSettings::cold(11, seed);
    for (place, host) in crowd.hosts.iter_mut().enumerate() {
        match place {
            0..3 => host.fate = Some((Duration::from_millis(3_400), Fate::Killed)),
            3..5 => host.starts += Duration::from_millis(3_400),
            _ => {}
        }
    }
    crowd
}

/// Eight, the first of them with a tenth of what the others have.
fn with_a_slow_one(seed: u64) -> CrowdSettings {
    let mut crowd = CrowdSettings::cold(8, seed);
    (crowd.hosts[0].up, crowd.hosts[0].down) = (mbit(20), mbit(20));
    crowd
}

#[test]
fn hosts_that_come_go_or_are_slow_cost_little() {
    for seed in 1..=3 {
        for (name, crowd) in [
            ("staggered", staggered(seed)),
            ("churned", churned(seed)),
            ("slow", with_a_slow_one(seed)),
        ] {
            let slowest = crowd.hosts.iter().map(|host| host.down).min();
            let least = least_time(crowd.size, crowd.origin_up, crowd.hosts[1..].iter());
            let starts = crowd.hosts.iter().map(|host| host.starts).max();
            let report = Crowd::run(crowd);
            let fast = report
                .counted()
                .skip(usize::from(slowest < Some(mbit(100))));
            let last = fast.filter_map(|host| host.finished).max();
            let end = least.max(starts.unwrap_or_default()).mul_f64(1.25);
            judge(
                name,
                seed,
                &report,
                report.copies <= 1.1 && last <= Some(end),
            );
        }
    }
}

#[test]
fn where_peers_give_little_nobody_waits_for_them_longer_than_for_the_origin() {
    let sizes = [3 << 20, 24 << 20];
    for (size, origin_use) in sizes
        .into_iter()
        .flat_map(|size| [(size, OriginUse::Ranges), (size, OriginUse::Stream)])
    {
        let mut crowd = CrowdSettings::cold(8, 1);
        (crowd.size, crowd.origin_use) = (size, origin_use);
        for host in &mut crowd.hosts {
            host.serves = ServeLimits {
                clients: 3,
                rate: Rate::Bits(mbit(1)),
            };
        }
        // Of peers alone it would take one or more minutes.
        let alone = Rate::Bits(crowd.origin_up).time_for(8 * size);
        let report = Crowd::run(crowd);
        let holds = report.copies <= 8.1 && report.last() <= alone * 105 / 100;
        judge("few and slow", 1, &report, holds);
    }
}

const SIZES: [u64; 4] = [100 << 10, 3 << 20, 12 << 20, 24 << 20];

/// What happens to a host in the middle of it, if anything.
fn some_fate(random: &mut fastrand::Rng) -> Option<(Duration, Fate)> {
    let at = Duration::from_millis(random.u64(100..4_000));
    let fate = match random.u8(0..20) {
        0..2 => Fate::Killed,
        2 => Fate::Vanishes,
        3..6 => Fate::Restarts(Duration::from_millis(random.u64(100..3_000))),
        _ => return None,
    };
    Some((at, fate))
}

fn some_mischief(random: &mut fastrand::Rng) -> Manner {
    match random.u8(0..7) {
        0 => Manner::ClaimsOnly { rising: false },
        1 => Manner::ClaimsOnly { rising: true },
        2 => Manner::SignsWrong { one_in: 1 },
        3 => Manner::ServesWrong,
        4 => Manner::AnnouncesAll,
        5 => Manner::MakesUpLeaders,
        _ => Manner::Dribbles,
    }
}

/// A crowd of up to twelve, made up from a seed: hosts of all kinds of lines that come and
/// go, up to a third of them hostile.
fn some_crowd(seed: u64) -> CrowdSettings {
    let mut random = fastrand::Rng::with_seed(seed);
    let count = random.usize(2..=12);
    let mut crowd = CrowdSettings::cold(count, seed);
    crowd.size = SIZES[random.usize(..SIZES.len())];
    crowd.origin_up = mbit(random.u64(20..200));
    crowd.origin_first_byte = Duration::from_millis(random.u64(1..200));
    crowd.loss = f64::from(random.u8(0..3)) * 0.02;
    if random.u8(0..4) == 0 {
        crowd.origin_use = OriginUse::Stream;
    }
    let limited = crowd.size < 4 << 20 && random.bool();
    let spread = random.u64(1..3_000);
    for host in &mut crowd.hosts {
        *host = HostSettings {
            starts: Duration::from_millis(random.u64(0..spread)),
            fate: some_fate(&mut random),
            ..HostSettings::lan(mbit(random.u64(20..500)), mbit(random.u64(50..1000)))
        };
        if limited {
            host.serves = ServeLimits {
                clients: 3,
                rate: Rate::Bits(mbit(1)),
            };
        }
    }
    crowd.hosts[0].fate = None;
    for place in 1..=random.usize(0..=count / 3).min(count - 1) {
        crowd.hosts[place].manner = some_mischief(&mut random);
        if crowd.hosts[place].manner == Manner::Dribbles {
            crowd.hosts[place].down = 8;
        }
    }
    crowd
}

/// What the origin sends at most, in copies: hosts that come and go cost some pieces
/// twice, a lie what was had of others once more for each who believed it, and once or
/// twice to see who lied.
fn most_copies(crowd: &CrowdSettings) -> f64 {
    let honest = crowd.hosts.iter().filter(|it| !it.manner.is_hostile());
    let (honest, all) = (honest.count(), crowd.hosts.len());
    let limited = crowd.hosts.iter().any(|it| it.serves.clients < 64);
    let lies = crowd.hosts.iter().any(|it| it.manner.forges(0));
    let alone = honest as f64;
    match (
        honest == all,
        limited || crowd.origin_use == OriginUse::Stream,
    ) {
        (true, false) => 2.25,
        _ if lies => alone * 3.0 + 0.5,
        _ => alone * 1.5,
    }
}

/// When all are done at the latest: when each would have its own copy of the origin, and
/// a minute later.
fn latest(crowd: &CrowdSettings) -> Duration {
    let bits = crowd.size as f64 * 8.0 * crowd.hosts.len() as f64;
    let starts = crowd.hosts.iter().map(|host| host.starts).max();
    let direct = Duration::from_secs_f64(bits / crowd.origin_up as f64);
    starts.unwrap_or_default() + direct + Duration::from_secs(60)
}

#[test]
fn whatever_happens_honest_hosts_get_the_right_file() {
    // In the last three somebody asks the origin for what another claims whom it waits for
    // no longer, and liars have everybody wait again and again, which must not add up.
    for seed in (0..240).chain([295, 1447, 1457]) {
        let crowd = some_crowd(seed);
        let (copies, end) = (most_copies(&crowd), latest(&crowd));
        let report = Crowd::run(crowd);
        let holds = report.copies <= copies && report.last() <= end;
        judge("any", seed, &report, holds);
    }
}

/// Eight without a digest, some of whom sign something else than what they fetched.
fn with_liars(liars: usize, audit_share: f64, seed: u64) -> CrowdSettings {
    let mut crowd = CrowdSettings {
        size: 24 << 20,
        digest: false,
        audit_share,
        ..CrowdSettings::cold(8, seed)
    };
    for host in &mut crowd.hosts[..liars] {
        let one_in = [1, 2, 8][seed as usize % 3];
        host.manner = Manner::SignsWrong { one_in };
    }
    crowd
}

#[test]
fn whoever_audits_a_forged_piece_exposes_its_signer_and_keeps_nothing_of_it() {
    let mut found = [0; 3];
    for seed in 0..54 {
        let (level, liars) = (seed as usize / 3 % 3, 1 + seed as usize / 9 % 3);
        let crowd = with_liars(liars, [0.01, 0.2, 1.0][level], seed);
        let end = latest(&crowd);
        let report = Crowd::run(crowd);
        for host in report.counted() {
            let bad = host.exposed_honest + host.of_exposed;
            assert_eq!(bad, 0, "seed {seed}: {host:?}");
            assert_eq!(host.forged > 0, host.exposed > 0, "seed {seed}: {host:?}");
            let all = host.exposed == liars;
            assert!(!all || host.wrong_pieces == 0, "seed {seed}: {host:?}");
            found[level] += host.exposed;
        }
        let done = report.all_finished() && report.last() <= end;
        assert!(done, "seed {seed}\n{}\n{report}", CrowdReport::HEADER);
    }
    let [few, some, many] = found;
    assert!(few < some && some < many && many > 54, "{found:?}");
}

#[test]
fn without_liars_audits_cost_their_share_and_find_nobody() {
    for seed in 0..3 {
        let report = Crowd::run(with_liars(0, 0.1, seed));
        let audited: u64 = report.hosts.iter().map(|host| host.audited).sum();
        let found: usize = report.hosts.iter().map(|host| host.exposed).sum();
        // A tenth of 96 pieces, and each is given to seven of eight.
        assert!((2..20).contains(&audited), "{audited}");
        judge("audited", seed, &report, found == 0 && report.copies <= 1.3);
    }
}

#[test]
fn what_one_finds_out_the_others_look_at() {
    let (mut all, mut saved) = (0, 0);
    for seed in 0..30 {
        let report = Crowd::run(with_liars(1, 0.1, seed));
        if report.counted().any(|host| host.exposed > 0) {
            all += report.counted().count();
            saved += report.counted().filter(|host| host.exposed > 0).count();
        }
    }
    assert!(all > 50, "hardly anybody was found: {all}");
    // Who has the file before somebody finds it out is not saved.
    assert!(saved * 20 >= all * 19, "{saved} of {all}");
}

#[test]
fn who_doubts_what_is_right_costs_two_pieces_of_each() {
    for seed in 0..10 {
        let mut crowd = with_liars(0, 0.0, seed);
        crowd.hosts[seed as usize % 8].manner = Manner::DoubtsAll;
        let report = Crowd::run(crowd);
        let audited: u64 = report.counted().map(|host| host.audited).sum();
        for host in report.counted() {
            // What it fetched itself nobody makes it doubt.
            let holds = host.audited <= 2 && host.exposed == 0;
            assert!(holds, "seed {seed}: {host:?}");
        }
        assert!((7..=14).contains(&audited), "seed {seed}: {audited}");
        // Fourteen of 96 pieces.
        judge("doubted", seed, &report, report.copies <= 1.2);
    }
}
