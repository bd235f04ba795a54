//! News as bytes.
//!
//! A message is a byte with the version, 1, and any number of news, one after the other.
//! Numbers are LEB128 (unsigned, 7 bits a byte, the lowest first). A news is the entity
//! key (32 bytes), its kind (a byte: 1 join, 2 state, 3 change, 4 leave), the size, the
//! epoch, the runs that it got, the runs that it fetches, the bytes fetched, then 0, or 1 with
//! clients and rate in bit/s (0: unlimited), then 0, or 1 with the leader: its id (16
//! bytes), its beat, the number of those who fetch and the id of each, then 0, or 1 with the id
//! and the beat of the leader that it replaces; then the number of doubts, for each the number
//! of the piece and the chaining value (32 bytes) that somebody signed of it. Runs are their
//! number and, for each, the gap since the end of the one before and its length.

use std::ops::Range;

use potluck_content::{ChainingValue, EntityKey, Layout, PieceIndex};

use super::doubts::{Doubt, MAX_DOUBTS};
use super::leading::Leader;
use super::member::MemberId;
use super::news::{News, NewsKind, ServeLimits};
use crate::{Rate, piece_runs};

const VERSION: u8 = 1;

/// The most swarms that one message speaks of.
pub const MAX_NEWS: usize = 256;

/// The most that a leader names to fetch from the origin.
const MOST_FETCHERS: u64 = 64;

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no news of a swarm: {0}")]
pub struct BadNews(&'static str);

/// Writes a message.
#[must_use]
pub fn encode_news(news: &[News]) -> Vec<u8> {
    let mut out = vec![VERSION];
    for one in news {
        out.extend_from_slice(one.entity.as_bytes());
        out.push(match one.kind {
            NewsKind::Join => 1,
            NewsKind::State => 2,
            NewsKind::Change => 3,
            NewsKind::Leave => 4,
        });
        put(&mut out, one.size);
        put(&mut out, u64::from(one.epoch));
        put_runs(&mut out, &one.got);
        put_runs(&mut out, &one.fetching);
        put(&mut out, one.fetched);
        match one.limits {
            None => out.push(0),
            Some(limits) => {
                out.push(1);
                put(&mut out, u64::from(limits.clients));
                put(&mut out, limits.rate.bits().map_or(0, |bits| bits.max(1)));
            }
        }
        match &one.leader {
            None => out.push(0),
            Some(leader) => {
                out.push(1);
                out.extend_from_slice(&leader.id.0);
                put(&mut out, u64::from(leader.beat));
                put(&mut out, leader.fetchers.len() as u64);
                for id in &leader.fetchers {
                    out.extend_from_slice(&id.0);
                }
                match leader.instead_of {
                    None => out.push(0),
                    Some((id, beat)) => {
                        out.push(1);
                        out.extend_from_slice(&id.0);
                        put(&mut out, u64::from(beat));
                    }
                }
            }
        }
        put(&mut out, one.doubts.len() as u64);
        for doubt in &one.doubts {
            put(&mut out, u64::from(doubt.piece.0));
            out.extend_from_slice(doubt.value.as_bytes());
        }
    }
    out
}

/// Reads a message. What it says is in order: runs are sorted and within the content.
///
/// # Errors
/// When it is none, or of a version that this node does not know.
pub fn decode_news(bytes: &[u8]) -> Result<Vec<News>, BadNews> {
    let (VERSION, mut rest) = bytes
        .split_first()
        .map_or((0, bytes), |(v, rest)| (*v, rest))
    else {
        return Err(BadNews("another version"));
    };
    let mut all = Vec::new();
    while !rest.is_empty() {
        if all.len() == MAX_NEWS {
            return Err(BadNews("too many at once"));
        }
        all.push(read(&mut rest)?);
    }
    Ok(all)
}

fn read(rest: &mut &[u8]) -> Result<News, BadNews> {
    let (key, after) = rest.split_first_chunk::<32>().ok_or(BadNews("cut short"))?;
    *rest = after;
    let kind = match byte(rest)? {
        1 => NewsKind::Join,
        2 => NewsKind::State,
        3 => NewsKind::Change,
        4 => NewsKind::Leave,
        _ => return Err(BadNews("a kind that is not known")),
    };
    let size = number(rest)?;
    let layout = Layout::for_size(size).map_err(|_| BadNews("a size that no content has"))?;
    let epoch = u32::try_from(number(rest)?).map_err(|_| BadNews("a count too large"))?;
    let got = runs(rest, layout.pieces())?;
    let fetching = runs(rest, layout.pieces())?;
    let fetched = number(rest)?;
    let limits = match byte(rest)? {
        0 => None,
        1 => {
            let clients = u32::try_from(number(rest)?).unwrap_or(u32::MAX);
            let rate = match number(rest)? {
                0 => Rate::Unlimited,
                bits => Rate::Bits(bits),
            };
            Some(ServeLimits { clients, rate })
        }
        _ => return Err(BadNews("limits that are none")),
    };
    let leader = leader(rest)?;
    let doubts = doubts(rest, &layout)?;
    Ok(News {
        entity: EntityKey::from_bytes(*key),
        size,
        kind,
        epoch,
        got,
        fetching,
        fetched,
        limits,
        leader,
        doubts,
    })
}

fn leader(rest: &mut &[u8]) -> Result<Option<Leader>, BadNews> {
    match byte(rest)? {
        0 => return Ok(None),
        1 => {}
        _ => return Err(BadNews("a leader that is none")),
    }
    let id = member(rest)?;
    let beat = beat(rest)?;
    let count = number(rest)?;
    if count > MOST_FETCHERS {
        return Err(BadNews("too many that fetch"));
    }
    let fetchers: Result<_, _> = (0..count).map(|_| member(rest)).collect();
    let fetchers = fetchers?;
    let instead_of = match byte(rest)? {
        0 => None,
        1 => Some((member(rest)?, self::beat(rest)?)),
        _ => return Err(BadNews("a leader that is none")),
    };
    Ok(Some(Leader {
        id,
        beat,
        fetchers,
        instead_of,
    }))
}

fn beat(rest: &mut &[u8]) -> Result<u32, BadNews> {
    u32::try_from(number(rest)?).map_err(|_| BadNews("a count too large"))
}

fn doubts(rest: &mut &[u8], layout: &Layout) -> Result<Vec<Doubt>, BadNews> {
    let count = number(rest)?;
    if count > MAX_DOUBTS as u64 {
        return Err(BadNews("too many doubts"));
    }
    let read = |_| {
        let piece = u32::try_from(number(rest)?).unwrap_or(u32::MAX);
        let piece = PieceIndex(piece);
        let (value, after) = rest.split_first_chunk::<32>().ok_or(BadNews("cut short"))?;
        *rest = after;
        let value = ChainingValue::from_bytes(*value);
        let is_there = layout.contains(piece);
        let doubt = is_there.then_some(Doubt { piece, value });
        doubt.ok_or(BadNews("a doubt about a piece that is not there"))
    };
    (0..count).map(read).collect()
}

fn member(rest: &mut &[u8]) -> Result<MemberId, BadNews> {
    let (id, after) = rest.split_first_chunk::<16>().ok_or(BadNews("cut short"))?;
    *rest = after;
    Ok(MemberId(*id))
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_runs(out: &mut Vec<u8>, runs: &[Range<u32>]) {
    put(out, runs.len() as u64);
    let mut end = 0;
    for run in runs {
        put(out, u64::from(run.start - end));
        put(out, u64::from(run.end - run.start));
        end = run.end;
    }
}

fn byte(rest: &mut &[u8]) -> Result<u8, BadNews> {
    let (first, after) = rest.split_first().ok_or(BadNews("cut short"))?;
    *rest = after;
    Ok(*first)
}

fn number(rest: &mut &[u8]) -> Result<u64, BadNews> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let next = byte(rest)?;
        let bits = u64::from(next & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if next & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(BadNews("a number that is too large"))
}

fn runs(rest: &mut &[u8], pieces: u32) -> Result<Vec<Range<u32>>, BadNews> {
    let count = number(rest)?;
    // Each takes two bytes at least, so this bounds what is set aside.
    if count > rest.len() as u64 / 2 {
        return Err(BadNews("cut short"));
    }
    let mut runs: Vec<Range<u32>> = Vec::new();
    let mut end = 0u64;
    for _ in 0..count {
        let start = end.saturating_add(number(rest)?);
        end = start.saturating_add(number(rest)?);
        let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(end)) else {
            return Err(BadNews("a piece that is not there"));
        };
        runs.push(start..end);
    }
    if piece_runs::are_proper(&runs, pieces) {
        Ok(runs)
    } else {
        Err(BadNews(
            "runs out of order, or of pieces that are not there",
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some_news() -> impl Strategy<Value = News> {
        let runs = || proptest::collection::btree_set(0u32..200, 0..60).prop_map(piece_runs::of);
        let limits = proptest::option::of((1u32..100, 0u64..10)).prop_map(|limits| {
            limits.map(|(clients, rate)| ServeLimits {
                clients,
                rate: if rate == 0 {
                    Rate::Unlimited
                } else {
                    Rate::Bits(rate * 1_000_000)
                },
            })
        });
        let kinds = prop_oneof![
            Just(NewsKind::Join),
            Just(NewsKind::State),
            Just(NewsKind::Change),
            Just(NewsKind::Leave)
        ];
        (
            any::<[u8; 32]>(),
            kinds,
            runs(),
            runs(),
            any::<u64>(),
            limits,
            proptest::option::of(proptest::collection::vec(any::<[u8; 16]>(), 1..9)),
            proptest::collection::vec((0u32..200, any::<[u8; 32]>()), 0..=MAX_DOUBTS),
        )
            .prop_map(
                |(key, kind, got, fetching, fetched, limits, ids, doubts)| News {
                    entity: EntityKey::from_bytes(key),
                    size: 200 << 18,
                    kind,
                    epoch: fetched as u32,
                    got,
                    fetching,
                    fetched,
                    limits,
                    leader: ids.map(|ids| Leader {
                        id: MemberId(ids[0]),
                        beat: fetched as u32,
                        fetchers: ids[1..].iter().map(|id| MemberId(*id)).collect(),
                        instead_of: ids.get(3).map(|id| (MemberId(*id), fetched as u32)),
                    }),
                    doubts: (doubts.into_iter())
                        .map(|(piece, value)| Doubt {
                            piece: PieceIndex(piece),
                            value: ChainingValue::from_bytes(value),
                        })
                        .collect(),
                },
            )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(news in proptest::collection::vec(some_news(), 0..5)) {
            prop_assert_eq!(decode_news(&encode_news(&news)), Ok(news));
        }

        #[test]
        fn noise_is_refused_and_harms_nothing(
            news in proptest::collection::vec(some_news(), 1..3),
            cut in 0usize..400,
            flips in proptest::collection::vec((0usize..400, any::<u8>()), 0..4),
        ) {
            let mut bytes = encode_news(&news);
            bytes.truncate(cut.max(1));
            for (at, with) in flips {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= with;
                }
            }
            for read in decode_news(&bytes).into_iter().flatten() {
                let pieces = Layout::for_size(read.size).unwrap().pieces();
                prop_assert!(piece_runs::are_proper(&read.got, pieces));
                prop_assert!(piece_runs::are_proper(&read.fetching, pieces));
            }
        }
    }

    #[test]
    fn another_version_and_nothing_are_refused() {
        assert!(decode_news(&[]).is_err());
        assert!(decode_news(&[2]).is_err());
        assert_eq!(decode_news(&[1]), Ok(Vec::new()));
    }
}
