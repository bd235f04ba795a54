//! Random choices that a seed repeats.

use std::time::Duration;

/// A small generator (SplitMix64) for delays and samples. Not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// True in `part` of `whole` cases.
    pub(crate) fn chance(&mut self, part: u64, whole: u64) -> bool {
        self.below(whole.max(1)) < part
    }

    /// A number from 0 up to `end`, without it; 0 if `end` is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        u64::try_from((u128::from(self.next()) * u128::from(end)) >> 64).expect("below end")
    }

    /// Puts things in an order of chance.
    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        for end in (1..things.len()).rev() {
            let other = self.below(end as u64 + 1);
            things.swap(end, usize::try_from(other).expect("an index"));
        }
    }

    /// A time from nothing up to `longest`.
    pub(crate) fn up_to(&mut self, longest: Duration) -> Duration {
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(self.below(micros + 1))
    }

    /// About `time`: between three and five quarters of it.
    pub(crate) fn about(&mut self, time: Duration) -> Duration {
        time * 3 / 4 + self.up_to(time / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_its_bounds() {
        let mut dice = Dice::new(1);
        assert!((0..1000).all(|_| dice.below(7) < 7));
        assert_eq!(dice.below(0), 0);
        let hits = (0..10_000).filter(|_| dice.chance(1, 4)).count();
        assert!((2300..2700).contains(&hits), "{hits}");
        let mut order: Vec<_> = (0..100).collect();
        dice.shuffle(&mut order);
        assert!(!order.is_sorted());
        order.sort_unstable();
        assert_eq!(order, Vec::from_iter(0..100));
        let time = Duration::from_secs(4);
        assert!((0..1000).all(|_| (3000..=5000).contains(&dice.about(time).as_millis())));
    }
}
