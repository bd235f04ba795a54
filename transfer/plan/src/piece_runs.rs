//! Sets of pieces as sorted runs: short where pieces come one after the other.

use std::ops::Range;

/// The runs that these pieces make, whatever their order.
pub(crate) fn of(pieces: impl IntoIterator<Item = u32>) -> Vec<Range<u32>> {
    let mut all: Vec<u32> = pieces.into_iter().collect();
    all.sort_unstable();
    let mut runs: Vec<Range<u32>> = Vec::new();
    for index in all {
        match runs.last_mut() {
            Some(last) if index < last.end => {}
            Some(last) if index == last.end => last.end += 1,
            _ => runs.push(index..index + 1),
        }
    }
    runs
}

/// Whether a piece is in one of the sorted runs.
pub(crate) fn has(runs: &[Range<u32>], index: u32) -> bool {
    let after = runs.partition_point(|run| run.end <= index);
    runs.get(after).is_some_and(|run| run.contains(&index))
}

/// Whether these are sorted runs of pieces below `pieces`, none empty, none touching.
pub(crate) fn are_proper(runs: &[Range<u32>], pieces: u32) -> bool {
    let sorted = runs.windows(2).all(|pair| pair[0].end < pair[1].start);
    sorted
        && runs
            .iter()
            .all(|run| run.start < run.end && run.end <= pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_made_and_looked_up() {
        let runs = of([7, 3, 1, 2, 9, 7]);
        assert_eq!(runs, [1..4, 7..8, 9..10]);
        for index in 0..12 {
            assert_eq!(
                has(&runs, index),
                [1, 2, 3, 7, 9].contains(&index),
                "{index}"
            );
        }
        assert!(are_proper(&runs, 10) && !are_proper(&runs, 9));
        let (touching, backwards) = ([1..2, 2..3], [5..6, 1..2]);
        assert!(!are_proper(&touching, 10) && !are_proper(&backwards, 10));
    }
}
