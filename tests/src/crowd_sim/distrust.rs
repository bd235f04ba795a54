//! What a host does when the whole is not what its digest says.

use potluck_content::PieceIndex;
use potluck_plan::Source;

use super::event::Place;
use super::member_host::peer_key;
use super::network::Crowd;

impl Crowd {
    /// Whether an honest host has pieces that are not right.
    pub(super) fn is_wrong(&self, place: Place) -> bool {
        let host = &self.hosts[place];
        let mut pieces = host.disk.iter().flatten();
        !host.settings.manner.is_hostile() && pieces.any(|piece| !piece.right)
    }

    /// Somebody lied: the host goes on alone, and fetches again what is not surely the
    /// origin's.
    pub(super) fn distrust(&mut self, place: Place) {
        let now = self.events.instant();
        let host = &mut self.hosts[place];
        host.gossip.leave(&self.entity);
        let Some(plan) = host.program.as_mut().and_then(|it| it.plan.as_mut()) else {
            return;
        };
        for peer in &host.peers {
            plan.handle_peer_left(peer_key(*peer), now);
        }
        let good = plan.pieces_from(Source::Origin);
        let indices = self.layout.indices();
        let doubtful: Vec<PieceIndex> = indices
            .filter(|index| good.binary_search(index).is_err())
            .collect();
        for index in &doubtful {
            host.disk[index.0 as usize] = None;
        }
        plan.forget(&doubtful, now);
    }
}
