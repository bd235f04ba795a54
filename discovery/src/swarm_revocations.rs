//! Revocations on their way from peer to peer, and what becomes of the revoked.
//!
//! Every Hello says which list a node has; who has a later one is asked for it. Who took
//! a later list tells all its peers at once, so that it crosses a site in as many steps
//! as its peers are apart.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use libp2p::PeerId;
use potluck_near::Setback;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::control_message::{Request, Response};
use crate::handle::AskError;
use crate::swarm_questions::AskedWhat;
use crate::swarm_task::SwarmTask;
use crate::{
    Departure, DiscoveryEvent, ListStamp, Offered, RejectReason, RevocationError, RevocationList,
};

/// How soon a list that did not come is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(15);
/// Lists that are remembered as seen.
const MAX_SEEN: usize = 32;

/// What spreading takes note of.
#[derive(Default)]
pub(crate) struct Spreading {
    /// The lists that connected peers were last known to have.
    theirs: BTreeMap<PeerId, ListStamp>,
    /// Who was asked for a list that is not there yet; lists are large, so one by one.
    asked: Option<PeerId>,
    /// When somebody was asked last.
    asked_at: Option<Instant>,
    /// Lists that were looked at or in force: nobody is asked for them.
    seen: VecDeque<ListStamp>,
    /// Lists that are being looked at and written on the blocking pool.
    pub(crate) taking: JoinSet<Taken>,
}

/// What became of a peer's list.
pub(crate) struct Taken {
    from: PeerId,
    stamp: ListStamp,
    result: Result<Offered, RevocationError>,
}

impl SwarmTask {
    /// A peer has said which list it has.
    pub(crate) fn on_list_of(&mut self, peer: PeerId, stamp: ListStamp) {
        self.state.spreading.theirs.insert(peer, stamp);
        self.ask_for_list();
    }

    /// A peer is no longer connected.
    pub(crate) fn forget_list_of(&mut self, peer: &PeerId) {
        let spreading = &mut self.state.spreading;
        spreading.theirs.remove(peer);
        if spreading.asked == Some(*peer) {
            spreading.asked = None;
            self.ask_for_list();
        }
    }

    /// Asks somebody who has a list that is of use here. A node with the authority
    /// brings lists together, so to it an older one is of use as well.
    fn ask_for_list(&mut self) {
        let ours = self.standing.revocations().stamp();
        let any = self.brings_together;
        let spreading = &mut self.state.spreading;
        if spreading.asked.is_some() || !spreading.taking.is_empty() {
            return;
        }
        let seen = &spreading.seen;
        let useful = |stamp: &ListStamp| (any || *stamp > ours) && !seen.contains(stamp);
        let theirs = spreading.theirs.iter().filter(|(_, stamp)| useful(stamp));
        let Some((&peer, _)) = theirs.max_by_key(|(_, stamp)| **stamp) else {
            return;
        };
        spreading.asked = Some(peer);
        spreading.asked_at = Some(Instant::now());
        self.ask(peer, Request::revocations(), AskedWhat::Revocations, false);
    }

    /// Asks again for what did not come.
    pub(crate) fn ask_for_list_again(&mut self, now: Instant) {
        let asked_at = self.state.spreading.asked_at;
        if asked_at.is_some_and(|asked| now - asked >= ASK_AGAIN) {
            self.ask_for_list();
        }
    }

    /// A peer has answered with its list, or not.
    pub(crate) fn on_list(&mut self, peer: PeerId, answer: Result<Response, AskError>) {
        let spreading = &mut self.state.spreading;
        if spreading.asked == Some(peer) {
            spreading.asked = None;
        }
        match answer.map(Response::into_revocations) {
            Ok(Ok(signed)) => {
                let revocations = self.standing.revocations().clone();
                spreading.taking.spawn_blocking(move || Taken {
                    from: peer,
                    stamp: signed.stamp(),
                    result: revocations.offer(signed),
                });
            }
            Ok(Err(wrong)) => self.on_fault(peer, format!("wrong answer: {wrong}")),
            Err(AskError::Refused(why)) => {
                tracing::debug!(%peer, why, "no list of revocations");
                spreading.theirs.remove(&peer);
                self.ask_for_list();
            }
            Err(error) => tracing::debug!(%peer, %error, "no list of revocations"),
        }
    }

    /// A list was looked at. If it counts, [`on_revocations`](Self::on_revocations)
    /// follows by itself.
    pub(crate) fn on_taken(&mut self, taken: Taken) {
        let Taken {
            from,
            stamp,
            result,
        } = taken;
        match result {
            Ok(offered) => {
                tracing::debug!(peer = %from, version = stamp.version, ?offered, "revocations");
                self.note_seen(stamp);
                self.ask_for_list();
            }
            Err(RevocationError::Bad(error)) => {
                self.on_fault(from, format!("its revocations do not count: {error}"));
            }
            // A full disk, most likely. It is tried again.
            Err(error) => tracing::error!(%error, "revocations cannot be kept"),
        }
    }

    fn note_seen(&mut self, stamp: ListStamp) {
        let seen = &mut self.state.spreading.seen;
        if !seen.contains(&stamp) {
            seen.push_back(stamp);
        }
        while seen.len() > MAX_SEEN {
            seen.pop_front();
        }
    }

    /// The list in force has changed: the revoked go, everybody else is told.
    pub(crate) fn on_revocations(&mut self, list: &Arc<RevocationList>) {
        let old = std::mem::replace(&mut self.revoked, Arc::clone(list));
        let stamp = self.standing.revocations().stamp();
        self.note_seen(stamp);
        if *old == **list {
            return;
        }
        tracing::info!(
            version = list.version,
            nodes = list.entries.len(),
            "revocations changed"
        );
        for (peer, entry) in &list.entries {
            if !old.is_revoked(peer) {
                self.announce(DiscoveryEvent::NodeRevoked {
                    id: *peer,
                    revocation: entry.clone(),
                });
            }
        }
        let connected: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in connected {
            self.ask(peer, Request::revoked(stamp), AskedWhat::Revoked, false);
            if list.is_revoked(&peer) {
                self.cut_off(peer);
            }
        }
        self.ask_for_list();
    }

    /// Certificates or the lists of an authority of the site's own have changed: who is
    /// among the revoked now goes.
    pub(crate) fn on_standing(&mut self) {
        let tls = self.standing.control();
        let connections = self.state.connections.values();
        let revoked = connections.filter(|it| tls.has_revoked(&it.certificate));
        let revoked: Vec<PeerId> = revoked.map(|it| it.peer).collect();
        for peer in revoked {
            self.cut_off(peer);
        }
    }

    /// Takes a revoked node off the list. It is told so on its connections, which answer
    /// nothing else and end in a moment.
    fn cut_off(&mut self, peer: PeerId) {
        let mut found = None;
        for connection in self.state.connections.values_mut() {
            if connection.peer == peer && connection.revoked.is_none() {
                connection.revoked = Some(Instant::now());
                let name = connection.name.clone();
                found = Some((connection.remote, name, connection.direction));
            }
        }
        if let Some((remote, name, direction)) = found {
            let address = self.table.info(&peer).map_or(remote, |info| info.address);
            self.note_rejection(
                address,
                Some(peer),
                Some(name),
                RejectReason::Revoked,
                direction,
            );
        }
        self.dismiss(peer, Departure::Revoked, Setback::Refused);
    }
}
