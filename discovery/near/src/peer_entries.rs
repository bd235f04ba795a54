//! The nodes of the peer table, with what is asked of them for every datagram kept
//! ready: how many are in which state, and who may be called when.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::time::Instant;

use libp2p_identity::PeerId;

use crate::dice::Dice;
use crate::peer_state::{PeerEntry, PeerState, Setback};

/// How many nodes are remembered, peers or not.
pub(crate) const MAX_ENTRIES: usize = 1024;

/// All entries. The tally is that of the entries whenever none of them is being changed.
#[derive(Default)]
pub(crate) struct PeerEntries {
    by_id: BTreeMap<PeerId, PeerEntry>,
    tally: Tally,
}

#[derive(Default, PartialEq, Eq, Debug)]
struct Tally {
    candidates: usize,
    dialing: usize,
    occupied: usize,
    /// Who may be called, by the time from which on.
    callable: BTreeSet<(Instant, PeerId)>,
}

/// What one entry adds to the tally.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Share {
    candidate: bool,
    dialing: bool,
    occupied: bool,
    callable: Option<Instant>,
}

/// An entry that may be changed; the tally follows when it is dropped.
pub(crate) struct EntryMut<'a> {
    peer: PeerId,
    entry: &'a mut PeerEntry,
    before: Share,
    tally: &'a mut Tally,
}

impl PeerEntries {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn contains_key(&self, peer: &PeerId) -> bool {
        self.by_id.contains_key(peer)
    }

    pub(crate) fn get(&self, peer: &PeerId) -> Option<&PeerEntry> {
        self.by_id.get(peer)
    }

    pub(crate) fn get_mut(&mut self, peer: &PeerId) -> Option<EntryMut<'_>> {
        let entry = self.by_id.get_mut(peer)?;
        Some(EntryMut {
            peer: *peer,
            before: Share::of(entry),
            entry,
            tally: &mut self.tally,
        })
    }

    /// The entry of a peer; `new` when it has none yet.
    pub(crate) fn get_or_insert(
        &mut self,
        peer: PeerId,
        new: impl FnOnce() -> PeerEntry,
    ) -> EntryMut<'_> {
        let tally = &mut self.tally;
        let entry = self.by_id.entry(peer).or_insert_with(|| {
            let entry = new();
            tally.add(peer, Share::of(&entry));
            entry
        });
        EntryMut {
            peer,
            before: Share::of(entry),
            entry,
            tally,
        }
    }

    /// Makes room for the entry of one more peer; says whether there is some. Where a
    /// site has more nodes than are remembered, the last heard take the places of others
    /// by chance: looking for the oldest each time would cost a busy site much, and if
    /// all forgot the same nodes, all would call the same few that are left.
    pub(crate) fn make_room(&mut self, dice: &mut Dice, now: Instant) -> bool {
        let entries = self.by_id.len();
        if entries < MAX_ENTRIES {
            return true;
        }
        let start = usize::try_from(dice.below(entries as u64)).expect("an index");
        let mut others = self.by_id.iter().skip(start).chain(self.by_id.iter());
        let idle = others.find(|(_, entry)| {
            !entry.state.is_occupied()
                && !matches!(entry.state, PeerState::BackedOff { why: Setback::Fault, until } if now < until)
        });
        let idle = idle.map(|(peer, _)| *peer);
        idle.is_some_and(|peer| self.remove(&peer).is_some())
    }

    pub(crate) fn remove(&mut self, peer: &PeerId) -> Option<PeerEntry> {
        let entry = self.by_id.remove(peer)?;
        self.tally.subtract(*peer, Share::of(&entry));
        Some(entry)
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&PeerEntry) -> bool) {
        let tally = &mut self.tally;
        self.by_id.retain(|peer, entry| {
            let keep = keep(entry);
            if !keep {
                tally.subtract(*peer, Share::of(entry));
            }
            keep
        });
    }

    /// So many peers, those on the list and those who may come onto it before others.
    pub(crate) fn nearest(&self, count: usize) -> Vec<PeerId> {
        let is_near = |entry: &PeerEntry| !matches!(entry.state, PeerState::BackedOff { .. });
        let near = self.by_id.iter().filter(|(_, entry)| is_near(entry));
        let others = self.by_id.iter().filter(|(_, entry)| !is_near(entry));
        let all = near.chain(others).map(|(peer, _)| *peer);
        all.take(count).collect()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &PeerEntry> {
        self.by_id.values()
    }

    /// How many could be called sooner or later, without a failure behind them.
    pub(crate) const fn candidates(&self) -> usize {
        self.tally.candidates
    }

    /// How many are being called.
    pub(crate) const fn dialing(&self) -> usize {
        self.tally.dialing
    }

    /// How many take a place among the peers.
    pub(crate) const fn occupied(&self) -> usize {
        self.tally.occupied
    }

    /// When the next one may be called.
    pub(crate) fn next_callable(&self) -> Option<Instant> {
        self.tally.callable.first().map(|(from, _)| *from)
    }

    /// Who may be called now.
    pub(crate) fn callable(&self, now: Instant) -> impl Iterator<Item = &PeerId> {
        let callable = self.tally.callable.iter();
        callable
            .take_while(move |(from, _)| *from <= now)
            .map(|(_, peer)| peer)
    }
}

impl Share {
    fn of(entry: &PeerEntry) -> Self {
        let callable = match entry.state {
            PeerState::Candidate { from } => Some(from),
            PeerState::BackedOff { until, .. } => Some(until),
            _ => None,
        };
        Self {
            candidate: matches!(entry.state, PeerState::Candidate { .. }),
            dialing: matches!(entry.state, PeerState::Dialing { .. }),
            occupied: entry.state.is_occupied(),
            callable: callable.filter(|_| !entry.addresses.is_empty()),
        }
    }
}

impl Tally {
    fn add(&mut self, peer: PeerId, share: Share) {
        self.candidates += usize::from(share.candidate);
        self.dialing += usize::from(share.dialing);
        self.occupied += usize::from(share.occupied);
        self.callable
            .extend(share.callable.map(|from| (from, peer)));
    }

    fn subtract(&mut self, peer: PeerId, share: Share) {
        self.candidates -= usize::from(share.candidate);
        self.dialing -= usize::from(share.dialing);
        self.occupied -= usize::from(share.occupied);
        if let Some(from) = share.callable {
            self.callable.remove(&(from, peer));
        }
    }
}

impl Deref for EntryMut<'_> {
    type Target = PeerEntry;

    fn deref(&self) -> &PeerEntry {
        self.entry
    }
}

impl DerefMut for EntryMut<'_> {
    fn deref_mut(&mut self) -> &mut PeerEntry {
        self.entry
    }
}

impl Drop for EntryMut<'_> {
    fn drop(&mut self) {
        let after = Share::of(self.entry);
        if after != self.before {
            self.tally.subtract(self.peer, self.before);
            self.tally.add(self.peer, after);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::beacon::tests::peer;
    use crate::known_addresses::KnownAddresses;

    const PLACE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 7382);

    fn tally_of(entries: &PeerEntries) -> Tally {
        let mut tally = Tally::default();
        for (peer, entry) in &entries.by_id {
            tally.add(*peer, Share::of(entry));
        }
        tally
    }

    fn state(kind: u8, time: Instant) -> PeerState {
        match kind % 4 {
            0 => PeerState::Candidate { from: time },
            1 => PeerState::Dialing { address: PLACE },
            2 => PeerState::Connected,
            _ => PeerState::BackedOff {
                until: time,
                why: Setback::Full,
            },
        }
    }

    proptest! {
        #[test]
        fn the_tally_follows(steps in proptest::collection::vec((0_u64..8, 0_u8..8, any::<u8>()), 0..60)) {
            let (mut entries, now) = (PeerEntries::default(), Instant::now());
            for (number, what, kind) in steps {
                let (peer, from) = (peer(number), now + Duration::from_secs(kind.into()));
                match what {
                    0 => drop(entries.remove(&peer)),
                    1 => entries.retain(|entry| !matches!(entry.state, PeerState::Connected)),
                    2 => if let Some(mut entry) = entries.get_mut(&peer) {
                        entry.addresses.note(PLACE, now);
                    },
                    _ => entries.get_or_insert(peer, || PeerEntry {
                        generation: 0,
                        addresses: KnownAddresses::default(),
                        name: String::new(),
                        state: PeerState::Dialing { address: PLACE },
                        failures: 0,
                        heard: now,
                        leaving: false,
                        lost: false,
                    }).state = state(kind, from),
                }
                prop_assert_eq!(&entries.tally, &tally_of(&entries));
            }
        }
    }
}
