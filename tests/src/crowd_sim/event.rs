//! What can happen in the crowd.

use std::rc::Rc;

use potluck_plan::Outcome;

use super::flow::FlowId;

/// A host's place in the crowd.
pub(super) type Place = usize;

/// What happens at one moment. A host that began again is another life: what was meant
/// for the one before is for nobody.
#[derive(Debug)]
pub(super) enum Event {
    /// The host begins.
    Start(Place),
    /// Its fate comes.
    End(Place),
    /// A time that its plan or its discovery window waits for.
    Wake(Place, u32),
    /// A time that its serving queue waits for.
    ServeWake(Place),
    /// A hostile host does something.
    Mischief(Place),
    /// A request has come to who is to answer it.
    Asked(FlowId),
    /// The origin begins to answer.
    Ready(FlowId),
    /// A block has left the line of a host, or of the origin.
    Sent(Option<Place>),
    /// A block has come.
    Arrived(FlowId, u64),
    /// Who asked hears that nothing more comes.
    Broken(FlowId, Outcome),
    /// Who answers hears that it may stop.
    Cancelled(FlowId),
    /// A host may tell its peers something again.
    Tell(Place),
    /// A message has come.
    Message(Letter),
    /// The answer to a message has come.
    Answer(Letter),
    /// A message or its answer got lost.
    Lost(Place, Place, u32),
    /// A host notices that a peer is gone.
    PeerGone(Place, Place),
    /// A host notices that a peer is there again.
    PeerBack(Place, Place),
}

/// A message from one host to another, in this life of both.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) from: Place,
    pub(super) to: Place,
    /// In which of its lives the asker asked.
    pub(super) life: u32,
    pub(super) bytes: Rc<[u8]>,
}
