//! The control connections of one simulated node, as the swarm's driver keeps them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::subnet::event::Place;

/// A peer that said nothing for this long is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// A peer that left the list of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lost {
    /// Whose list it was on.
    pub by: Place,
    /// Who left.
    pub peer: Place,
    /// When, since the start.
    pub at: Duration,
}

/// One end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// The same at both ends.
    pub(crate) number: u64,
    /// There is no place for this peer.
    pub(crate) in_vain: bool,
    /// When the peer was heard on it.
    pub(crate) alive: Duration,
    /// It was asked whether it is there, and has not answered yet.
    pub(crate) pinged: bool,
}

/// By the peer; two nodes that call each other end with one connection.
#[derive(Default, Debug)]
pub(crate) struct Connections(BTreeMap<Place, Connection>);

impl Connections {
    pub(crate) fn insert(&mut self, peer: Place, number: u64, in_vain: bool, now: Duration) {
        let connection = Connection {
            number,
            in_vain,
            alive: now,
            pinged: false,
        };
        self.0.insert(peer, connection);
    }

    pub(crate) fn get(&self, peer: Place) -> Option<&Connection> {
        self.0.get(&peer)
    }

    pub(crate) fn get_mut(&mut self, peer: Place) -> Option<&mut Connection> {
        self.0.get_mut(&peer)
    }

    /// The connection with a peer, if it still is the one with this number.
    pub(crate) fn current(&self, peer: Place, number: u64) -> Option<&Connection> {
        self.0.get(&peer).filter(|it| it.number == number)
    }

    pub(crate) fn remove(&mut self, peer: Place) -> Option<Connection> {
        self.0.remove(&peer)
    }

    /// Ends all of them; the peers with the numbers.
    pub(crate) fn take_all(&mut self) -> Vec<(Place, u64)> {
        let all = std::mem::take(&mut self.0).into_iter();
        all.map(|(peer, connection)| (peer, connection.number))
            .collect()
    }

    /// Peers that were silent for too long, which are pinged now.
    pub(crate) fn ping_the_silent(&mut self, now: Duration) -> Vec<(Place, u64)> {
        let silent = self.0.iter_mut().filter(|(_, it)| {
            !it.in_vain && !it.pinged && now.saturating_sub(it.alive) >= PING_INTERVAL
        });
        silent
            .map(|(peer, connection)| {
                connection.pinged = true;
                (*peer, connection.number)
            })
            .collect()
    }
}
