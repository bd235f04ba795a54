//! Rates, caps and sums, whatever the numbers.

use std::time::{Duration, Instant};

use potluck_plan::{Accounting, PeerKey, Rate, Source, TokenBucket};
use proptest::prelude::{any, prop, proptest};
use proptest::{prop_assert, prop_assert_eq};

#[expect(
    clippy::disallowed_methods,
    reason = "a test needs some instant to start from"
)]
fn start() -> Instant {
    Instant::now()
}

proptest! {
    /// Several users who always want more get together what the cap allows, within 2 %
    /// over 10 s, whatever their helpings.
    #[test]
    fn a_cap_is_exact_whoever_takes(
        bits in 200_000..20_000_000_000u64,
        helpings in prop::collection::vec(1..=4u64, 1..6),
    ) {
        let begin = start();
        let mut bucket = TokenBucket::new(Rate::Bits(bits), begin);
        let quantum = bucket.quantum();
        let end = begin + Duration::from_secs(10);
        // When each user may send its helping.
        let mut users: Vec<(Instant, u64)> = helpings
            .iter()
            .map(|part| (begin, (quantum / part).max(1)))
            .map(|(at, bytes)| (at + bucket.take(bytes, at), bytes))
            .collect();
        let mut sent = 0;
        loop {
            let (at, bytes) = users.iter_mut().min().expect("there is a user");
            if *at >= end {
                break;
            }
            sent += *bytes;
            *at += bucket.take(*bytes, *at);
        }
        let exact = Rate::Bits(bits).bytes_in(Duration::from_secs(10));
        prop_assert!(sent.abs_diff(exact) * 50 <= exact, "{sent} of {exact}");
    }

    /// Within any window no more flows than the rate and one burst allow, also over
    /// pauses.
    #[test]
    fn a_cap_is_never_passed(
        bits in 1_000..1_000_000_000u64,
        steps in prop::collection::vec((1..5_000u64, 0..200u64), 1..100),
    ) {
        let begin = start();
        let rate = Rate::Bits(bits);
        let mut bucket = TokenBucket::new(rate, begin);
        let (mut now, mut sent) = (begin, Vec::new());
        for (bytes, pause) in steps {
            now += bucket.take(bytes, now);
            sent.push((now, bytes));
            now += Duration::from_millis(pause);
        }
        for (from, (first, _)) in sent.iter().enumerate() {
            let mut sum = 0;
            for (at, bytes) in &sent[from..] {
                sum += bytes;
                let allowed = rate.bytes_in(*at - *first + Duration::from_millis(20));
                // The helping that opens the window was paid for before it.
                prop_assert!(sum <= allowed + sent[from].1 + 1, "{sum} of {allowed}");
            }
        }
    }

    #[test]
    fn rates_are_read_as_they_are_shown(bits in any::<u64>()) {
        let rate = Rate::Bits(bits);
        prop_assert_eq!(rate.to_string().parse(), Ok(rate));
    }

    #[test]
    fn no_text_is_too_strange(text in "\\PC{0,20}") {
        let _ = text.parse::<Rate>();
    }

    #[test]
    fn bytes_are_neither_lost_nor_counted_twice(
        steps in prop::collection::vec((0..6u8, 0..1_000_000u64), 0..50),
    ) {
        let mut accounting = Accounting::default();
        let mut received = 0;
        for (what, bytes) in steps {
            let source = if what % 2 == 0 { Source::Origin } else { Source::Peer(PeerKey(1)) };
            match what {
                0 | 1 => {
                    accounting.add(source, bytes);
                    received += bytes;
                }
                2 | 3 => accounting.discard(source, bytes),
                4 => accounting.add_cached(bytes),
                _ => accounting.lose(bytes),
            }
            prop_assert_eq!(accounting.received(), received);
            let again = accounting.resumed(bytes);
            prop_assert_eq!((again.total(), again.received()), (bytes, received));
        }
    }
}
