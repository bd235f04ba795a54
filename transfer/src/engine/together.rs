//! A file that is fetched together with the other members of its swarm.

use std::sync::Arc;
use std::time::{Duration, Instant};

use potluck_content::{ChainingValue, ContentId, EntityKey, Layout, PieceIndex, Statement};
use potluck_discovery::PeerId;
use potluck_plan::{DiscoveryWindow, Doubt, Doubts, Heard, NewsKind, PeerKey, Source, SwarmCounts};

use crate::engine::audits::{Audited, Audits};
use crate::engine::file_run::{FileRun, Giver};
use crate::engine::piece_store::{PieceStore, StoredPiece};
use crate::engine::request::TransferError;
use crate::engine::swarms::Swarms;
use crate::rates::now;
use crate::shelf::Readable;
use crate::swarm::SwarmPieces;
use crate::talk::{Membership, member_id};

/// How long one of several files that are on their way waits to hear who else fetches it.
/// The others come meanwhile, and who has many of them to tell of may take its time. Less
/// than others wait for a member that has a claim.
const LONGEST_OF_MANY: Duration = Duration::from_millis(500);

/// A transfer's part in a swarm.
pub(crate) struct Together {
    pub(crate) swarms: Swarms,
    pub(crate) membership: Membership,
    pub(crate) pieces: Arc<SwarmPieces>,
    pub(crate) audits: Audits,
    /// What other members doubt.
    pub(crate) doubts: Doubts,
    /// Whether it is finished, and stays on the shelf.
    pub(crate) kept: bool,
}

/// What comes from a swarm.
pub(crate) enum OfSwarm {
    /// A member said something.
    Heard(PeerId, Heard),
    /// A piece was compared with the origin.
    Audited(Audited),
}

/// A place in a swarm, before it is known where the bytes go.
pub(crate) struct Place {
    pub(crate) swarms: Swarms,
    pub(crate) membership: Membership,
    pub(crate) entity: EntityKey,
}

struct Reading(potluck_cache::PartialReader);

impl Readable for Reading {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

impl Place {
    /// Takes part in the swarm of an entity, unless this node does already.
    pub(crate) fn take(swarms: Swarms, entity: EntityKey, size: u64) -> Option<Self> {
        let layout = Layout::for_size(size).ok()?;
        let membership = swarms.talk.join(entity, layout)?;
        Some(Self {
            swarms,
            membership,
            entity,
        })
    }

    /// Waits until the peers, asked at this time, have said whether they take part; not for
    /// long.
    pub(crate) async fn settle(&self, asked_at: Instant) {
        let most = if self.membership.is_one_of_many() {
            LONGEST_OF_MANY
        } else {
            DiscoveryWindow::LONGEST
        };
        let most = most.saturating_sub(now().saturating_duration_since(asked_at));
        // Who answers later takes part then.
        let _ = tokio::time::timeout(most, self.membership.settled()).await;
    }

    /// Begins to give what is in the store.
    pub(crate) fn open(
        self,
        store: &PieceStore,
        audits: Audits,
    ) -> Result<Together, TransferError> {
        let reader = store.partial.reader().map_err(|error| {
            let context = potluck_plan::ErrorContext::LocalFile;
            TransferError::new("cache_failed", context, error.to_string(), true)
        })?;
        let vouching = Arc::clone(&self.swarms.vouching);
        let reader = Arc::new(Reading(reader));
        let pieces = Arc::new(SwarmPieces::new(
            self.entity,
            store.layout,
            reader,
            vouching,
        ));
        self.swarms.shelf.put(Arc::clone(&pieces));
        Ok(Together {
            swarms: self.swarms,
            membership: self.membership,
            pieces,
            audits,
            doubts: Doubts::default(),
            kept: false,
        })
    }
}

impl Together {
    /// Waits for the next. Safe to cancel.
    pub(super) async fn next(&mut self) -> OfSwarm {
        tokio::select! {
            (peer, heard) = self.membership.next() => OfSwarm::Heard(peer, heard),
            audited = self.audits.next() => OfSwarm::Audited(audited),
        }
    }

    /// Offers a piece that this node fetched from the origin.
    pub(super) fn offer_own(&self, index: PieceIndex, value: ChainingValue) {
        self.pieces.offer_own(index, value);
        self.membership.tell(|teller| teller.offer(index));
    }

    /// Offers a piece to the other members, with what vouches for it.
    pub(super) fn offer(&self, source: Source, stored: StoredPiece) {
        let index = stored.index;
        match (source, stored.statement) {
            (Source::Origin, _) => self.pieces.offer_own(index, stored.value),
            (Source::Peer(_), Some(statement)) => self.pieces.offer(statement),
            // Of a peer that holds the whole: whoever wants it asks there.
            (Source::Peer(_), None) => return,
        }
        self.membership.tell(|teller| teller.offer(index));
    }

    /// The file is complete and can be given from the cache.
    pub(super) fn finish(mut self, content: ContentId) {
        self.swarms.shelf.finish(&self.pieces, content);
        self.kept = true;
        self.membership.finish();
    }

    /// Tells the other members what somebody signed and the origin has not.
    pub(super) fn tell_doubt(&self, of: &Statement) {
        let doubt = doubt_of(of);
        self.membership.tell(|teller| teller.doubt(doubt));
    }

    /// Whether a member doubts this, and nobody here looked at it since.
    pub(super) fn is_doubted(&mut self, of: &Statement) -> bool {
        self.doubts.take(&doubt_of(of))
    }

    /// Offers these no more.
    pub(super) fn withdraw(&self, pieces: &[PieceIndex]) {
        for index in pieces {
            self.pieces.withdraw(*index);
        }
        self.membership.tell(|teller| teller.withdraw(pieces));
    }
}

impl Drop for Together {
    fn drop(&mut self) {
        if !self.kept {
            self.swarms.shelf.remove(&self.pieces);
        }
    }
}

impl FileRun {
    /// A member of the swarm said something.
    pub(super) fn on_heard(&mut self, peer: PeerId, heard: Heard) {
        let known = self
            .givers
            .iter()
            .position(|giver| matches!(giver, Giver::Member(at) if at.id == peer));
        match (heard, known) {
            (Heard::Gone, Some(key)) => self.plan.handle_peer_left(key_of(key), now()),
            (Heard::Gone, None) => {}
            // It could only stand in the way.
            (Heard::News(_), _) if self.is_banned(&peer) => {}
            (Heard::News(news), known) => {
                let anew = matches!(news.kind, NewsKind::Join | NewsKind::State);
                let Some(key) = known.filter(|_| !anew).or_else(|| self.meet(peer, known)) else {
                    return;
                };
                self.plan
                    .handle_news(key_of(key), member_id(&peer), &news, now());
                self.look_at_doubts(key_of(key), &news.doubts);
            }
        }
    }

    /// Lets the plan know with whom it fetches.
    pub(super) fn join_swarm(&mut self) {
        let Some(together) = &self.together else {
            return;
        };
        let (me, entity) = (together.swarms.me, *together.pieces.entity());
        self.plan.join_swarm(me, entity, now());
        while let Some((peer, heard)) = self.try_heard() {
            self.on_heard(peer, heard);
        }
    }

    /// Tells the swarm what this node asks of the origin.
    pub(super) fn tell_swarm(&self) {
        if let Some(together) = &self.together {
            let (fetching, fetched) = (self.plan.fetching(), self.plan.fetched());
            together.membership.tell(|teller| {
                teller.set_fetching(fetching, fetched);
                teller.set_leader(self.plan.leader());
            });
        }
    }

    pub(super) fn try_heard(&mut self) -> Option<(PeerId, Heard)> {
        self.together.as_mut()?.membership.try_next()
    }

    /// How it went with the swarm so far.
    pub(super) fn swarm_counts(&self) -> SwarmCounts {
        let members = self
            .givers
            .iter()
            .filter(|giver| matches!(giver, Giver::Member(_)));
        SwarmCounts {
            members: members.count() as u64,
            taken_over: self.plan.taken_over(),
            ..self.counts
        }
    }

    /// A member is here: for the first time, or again, and then perhaps elsewhere.
    fn meet(&mut self, peer: PeerId, known: Option<usize>) -> Option<usize> {
        let (neighbours, _) = self.domain.as_ref()?;
        let at = neighbours.peers().into_iter().find(|at| at.id == peer);
        let Some(at) = at.map(Giver::Member) else {
            return known;
        };
        if let Some(key) = known {
            self.givers[key] = at;
            return known;
        }
        self.givers.push(at);
        Some(self.givers.len() - 1)
    }
}

const fn doubt_of(statement: &Statement) -> Doubt {
    Doubt {
        piece: statement.index,
        value: statement.value,
    }
}

pub(super) fn key_of(place: usize) -> PeerKey {
    PeerKey(u32::try_from(place).unwrap_or(u32::MAX))
}
