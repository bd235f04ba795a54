//! Connections whose certificates end soon, replaced by fresh ones before they do.
//!
//! A connection must not outlive a certificate on it. A node that has renewed its own
//! shows the new one only in a handshake, so a new connection is made and takes the old
//! one's place; the peer never leaves the list.

use std::time::{Duration, SystemTime};

use libp2p::PeerId;
use potluck_near::DialTarget;
use tokio::time::Instant;

use crate::swarm_connection::Connection;
use crate::swarm_task::SwarmTask;

/// How long before its end a connection is replaced. The shortest certificates hold for
/// a minute and are renewed well before the last sixth of it.
const LEAD: Duration = Duration::from_secs(10);
/// Of two peers the one with the smaller id calls; the other does so when this little is
/// left.
const LAST_LEAD: Duration = Duration::from_secs(6);
/// How long a call may take to bear fruit before another is made.
const AGAIN: Duration = Duration::from_secs(3);

impl SwarmTask {
    /// Calls the peers whose connections end soon.
    pub(crate) fn replace_ending(&mut self, now: Instant, wall: SystemTime) {
        let replaced = &mut self.state.replaced;
        replaced.retain(|_, called| now.saturating_duration_since(*called) < AGAIN);
        let own = self.standing.expires();
        let connections = self.state.connections.values();
        let due: Vec<_> = connections
            .filter(|it| it.is_in_use() && !replaced.contains_key(&it.peer))
            // As long as our own certificate is the one that ends, nothing is gained.
            .filter(|it| own > it.ends && is_due(it, self.me, wall))
            .filter_map(|it| Some((it.peer, it.control?)))
            .collect();
        for (peer, address) in due {
            tracing::debug!(%peer, %address, "called again for newer certificates");
            self.state.replaced.insert(peer, now);
            self.dial(DialTarget::Peer(peer), address);
        }
    }
}

fn is_due(connection: &Connection, me: PeerId, wall: SystemTime) -> bool {
    let lead = if me < connection.peer {
        LEAD
    } else {
        LAST_LEAD
    };
    connection.ends <= wall + lead
}
