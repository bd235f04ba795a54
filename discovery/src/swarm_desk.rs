//! What nodes that download the same content tell each other, carried on their control
//! connections.
//!
//! The messages are bytes here: who reads and writes them is given as a [`SwarmDesk`].

use libp2p::PeerId;
use libp2p::request_response::ResponseChannel;

use crate::byte_string::ByteString;
use crate::control_message::{BAD, BUSY, Refusal, Request, Response, UNKNOWN};
use crate::swarm_task::SwarmTask;

/// The longest message about swarms, in bytes.
pub const MAX_SWARM_MESSAGE: usize = 32 * 1024;
/// The longest answer to one, in bytes.
pub const MAX_SWARM_ANSWER: usize = 256 * 1024;

/// Takes what peers tell about the swarms of contents, and answers it.
///
/// Only peers on the list are heard, and each has proven its id. A message may come twice
/// when the connection that carried it was closed before the answer, and messages of one
/// peer that are under way at once may overtake each other.
pub trait SwarmDesk: Send + Sync + 'static {
    /// Answers a message of a peer, which has [`MAX_SWARM_MESSAGE`] bytes at most and may
    /// be anything at all. Called by the task that owns all control connections, so it
    /// must be quick: it works in memory, waits for nothing and does not panic. An answer
    /// of more than [`MAX_SWARM_ANSWER`] bytes is not sent, and the peer is refused.
    fn answer(&self, from: PeerId, message: &[u8]) -> Vec<u8>;
}

impl Request {
    pub(crate) fn swarm(message: Vec<u8>) -> Self {
        let mut request = Self::of_kind("swarm");
        request.swarm = Some(ByteString(message));
        request
    }
}

impl Response {
    /// The answer to a message about swarms, or why there is none.
    pub(crate) fn swarm(answer: Vec<u8>) -> Self {
        if answer.len() > MAX_SWARM_ANSWER {
            return Refusal::new(BUSY, "the answer would be too long").into();
        }
        let mut response = Self::default();
        response.swarm = Some(ByteString(answer));
        response
    }

    /// Reads the answer to a message about swarms.
    pub(crate) fn into_swarm(self) -> Result<Vec<u8>, String> {
        match self.swarm {
            Some(answer) if answer.0.len() <= MAX_SWARM_ANSWER => Ok(answer.0),
            Some(answer) => Err(format!("{} bytes about swarms", answer.0.len())),
            None => Err("the answer is to another question".to_owned()),
        }
    }
}

impl SwarmTask {
    pub(crate) fn on_swarm_message(
        &mut self,
        peer: PeerId,
        message: &[u8],
        channel: ResponseChannel<Response>,
    ) {
        let response = match &self.swarms {
            None => Refusal::new(UNKNOWN, "this node takes no part in swarms").into(),
            Some(_) if self.table.info(&peer).is_none() => {
                Refusal::new(BAD, "you are no peer of this node").into()
            }
            Some(desk) => Response::swarm(desk.answer(peer, message)),
        };
        self.respond(channel, response);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_codec::ControlCodec;
    use crate::control_message::{MAX_REQUEST, MAX_RESPONSE, PROTOCOL, Question};
    use futures::FutureExt as _;
    use libp2p::StreamProtocol;
    use libp2p::request_response::Codec as _;

    /// What the other end reads, and how many bytes it took on the way.
    fn sent(request: Request) -> (Request, usize) {
        let (protocol, mut wire) = (StreamProtocol::new(PROTOCOL), Vec::new());
        let mut codec = ControlCodec::default();
        let written = codec.write_request(&protocol, &mut wire, request);
        written.now_or_never().unwrap().unwrap();
        let mut stream = &wire[..];
        let read = codec.read_request(&protocol, &mut stream).now_or_never();
        (read.unwrap().unwrap(), wire.len())
    }

    fn answered(response: Response) -> (Response, usize) {
        let (protocol, mut wire) = (StreamProtocol::new(PROTOCOL), Vec::new());
        let mut codec = ControlCodec::default();
        let written = codec.write_response(&protocol, &mut wire, response);
        written.now_or_never().unwrap().unwrap();
        let mut stream = &wire[..];
        let read = codec.read_response(&protocol, &mut stream).now_or_never();
        (read.unwrap().unwrap(), wire.len())
    }

    #[test]
    fn messages_and_answers_of_every_allowed_length_arrive() {
        for length in [0, 1, 23, 24, 300, MAX_SWARM_MESSAGE] {
            let message: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let (read, wire) = sent(Request::swarm(message.clone()));
            assert_eq!(read.question(), Ok(Question::Swarm(message)));
            assert!(wire <= length + 32, "{wire} bytes for {length}");
            assert!(wire as u64 <= MAX_REQUEST);
        }
        for length in [0, 1, 300, MAX_SWARM_ANSWER] {
            let answer = vec![7; length];
            let (read, wire) = answered(Response::swarm(answer.clone()));
            assert_eq!(read.into_swarm(), Ok(answer));
            assert!(wire <= length + 32, "{wire} bytes for {length}");
            assert!(wire as u64 <= MAX_RESPONSE);
        }
    }

    #[test]
    fn what_is_too_long_or_missing_is_refused() {
        let code = |request: Request| request.question().unwrap_err().code;
        let long = Request::swarm(vec![7; MAX_SWARM_MESSAGE + 1]);
        assert_eq!(code(sent(long).0), BAD);
        assert_eq!(code(Request::of_kind("swarm")), BAD);
        let too_much = Response::swarm(vec![7; MAX_SWARM_ANSWER + 1]);
        assert_eq!(too_much.refusal.unwrap().code, BUSY);
    }

    #[test]
    fn an_answer_that_is_none_is_wrong() {
        assert!(Response::pong().into_swarm().is_err());
        let mut long = Response::swarm(Vec::new());
        long.swarm = Some(ByteString(vec![7; MAX_SWARM_ANSWER + 1]));
        assert!(answered(long).0.into_swarm().is_err());
    }
}
