//! What can happen in the subnet.

use std::rc::Rc;

use potluck_near::{Beacon, Sighting};

/// A node's place in the subnet.
pub(crate) type Place = usize;

/// A datagram on its way. All who hear it share it.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) from: Place,
    pub(crate) beacon: Beacon,
    /// What each receiver's driver makes of it; nothing for a goodbye.
    pub(crate) sighting: Option<Sighting>,
    /// On the wire, with the headers of UDP and IP.
    pub(crate) length: usize,
}

/// What happens at one moment.
#[derive(Debug)]
pub(crate) enum Event {
    /// The node starts.
    Boot(Place),
    /// A time that the node waited for has come.
    Wake(Place),
    /// Everybody hears it.
    Multicast(Rc<Packet>),
    /// One node hears it.
    Unicast(Rc<Packet>, Place),
    /// A call was answered and both certificates are proven.
    Established {
        caller: Place,
        called: Place,
    },
    CallFailed {
        caller: Place,
        called: Place,
    },
    /// The other side has answered a Hello on the connection with this number.
    HelloAnswered {
        at: Place,
        peer: Place,
        connection: u64,
    },
    /// The other side has no place for this node.
    Full {
        at: Place,
        peer: Place,
        connection: u64,
    },
    /// The other side has closed it.
    Closed {
        at: Place,
        peer: Place,
        connection: u64,
    },
    /// A ping was answered, or its time is over.
    PingEnds {
        at: Place,
        peer: Place,
        connection: u64,
    },
}
