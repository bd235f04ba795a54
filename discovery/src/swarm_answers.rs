//! Questions of peers, answered.

use std::sync::Arc;

use libp2p::PeerId;
use libp2p::request_response::ResponseChannel;
use libp2p::swarm::ConnectionId;
use potluck_content::ContentId;

use crate::control_message::{BAD, BUSY, FULL, Question, REVOKED, Refusal, Request, Response};
use crate::knock::knock;
use crate::swarm_task::SwarmTask;
use crate::{Holdings, Wanted};

/// Answers that are looked up at once: each takes a thread of the blocking pool.
const MAX_ANSWERING: usize = 8;
/// Knocks at the ports of peers under way at once: each may take a second.
const MAX_KNOCKS: usize = 4;
/// Questions that wait for it.
const MAX_WAITING: usize = 512;

/// A peer's question that waits for a thread.
pub(crate) struct Waiting {
    question: Lookup,
    channel: ResponseChannel<Response>,
}

enum Lookup {
    Have(Vec<Option<Wanted>>),
    Manifest(ContentId),
}

/// A peer's question with its answer.
pub(crate) struct Answered {
    channel: ResponseChannel<Response>,
    response: Response,
}

impl SwarmTask {
    pub(crate) fn on_question(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        request: Request,
        channel: ResponseChannel<Response>,
    ) {
        let connection = self.state.connections.get(&connection);
        let in_vain = connection.is_none_or(|connection| connection.in_vain);
        let revoked = connection.is_some_and(|connection| connection.revoked.is_some());
        let question = match request.question() {
            Ok(question) => question,
            Err(refusal) => return self.respond(channel, refusal.into()),
        };
        if revoked && question != Question::Revocations {
            let refusal = Refusal::new(REVOKED, "this node was told that yours was revoked");
            return self.respond(channel, refusal.into());
        }
        if in_vain {
            let refusal = Refusal::new(FULL, "this node has as many peers as it wants");
            return self.respond(channel, refusal.into());
        }
        let question = match question {
            Question::Ping => return self.respond(channel, Response::pong()),
            Question::Hello(hello) if hello.domain == self.hello.domain => {
                let response = Response::hello(self.hello());
                if let Some(list) = hello.revocations.and_then(|form| form.stamp()) {
                    self.on_list_of(peer, list);
                }
                return self.respond(channel, response);
            }
            Question::Hello(_) => {
                let refusal = Refusal::new(BAD, "this node is of another domain");
                return self.respond(channel, refusal.into());
            }
            Question::Knock => return self.on_knock(peer, channel),
            Question::Revocations => {
                let signed = self.standing.revocations().signed();
                return self.respond(channel, Response::revocations(signed.as_ref()));
            }
            Question::Revoked(list) => {
                self.on_list_of(peer, list);
                return self.respond(channel, Response::pong());
            }
            Question::Swarm(message) => return self.on_swarm_message(peer, &message, channel),
            Question::Have(wanted) => Lookup::Have(wanted),
            Question::Manifest(content) => Lookup::Manifest(content),
        };
        if self.state.waiting.len() >= MAX_WAITING {
            let refusal = Refusal::new(BUSY, "this node has too much to do");
            return self.respond(channel, refusal.into());
        }
        self.state.waiting.push_back(Waiting { question, channel });
        self.look_up();
    }

    /// A peer wants to know whether its ports can be reached.
    fn on_knock(&mut self, peer: PeerId, channel: ResponseChannel<Response>) {
        let mut connections = self.state.connections.values();
        let connection = connections.find(|it| it.peer == peer && it.is_in_use());
        let control = connection.and_then(|connection| connection.control);
        let Some(data) = self.table.info(&peer).map(|info| info.address) else {
            let refusal = Refusal::new(BAD, "you are no peer of this node");
            return self.respond(channel, refusal.into());
        };
        if self.state.knocking.len() >= MAX_KNOCKS {
            let refusal = Refusal::new(BUSY, "this node has too much to do");
            return self.respond(channel, refusal.into());
        }
        self.state.knocking.spawn(async move {
            let response = Response::knocked(knock(data, control).await);
            Answered { channel, response }
        });
    }

    /// Gives waiting questions to the blocking pool.
    fn look_up(&mut self) {
        while self.state.answering.len() < MAX_ANSWERING {
            let Some(Waiting { question, channel }) = self.state.waiting.pop_front() else {
                return;
            };
            let holdings = Arc::clone(&self.holdings);
            self.state.answering.spawn_blocking(move || Answered {
                channel,
                response: answer(&*holdings, &question),
            });
        }
    }

    pub(crate) fn on_answered(&mut self, answered: Answered) {
        self.respond(answered.channel, answered.response);
        self.look_up();
    }

    pub(crate) fn respond(&mut self, channel: ResponseChannel<Response>, response: Response) {
        // Fails only when the connection has ended.
        let requests = &mut self.swarm.behaviour_mut().requests;
        let _ = requests.send_response(channel, response);
    }
}

/// Runs on the blocking pool.
fn answer(holdings: &dyn Holdings, question: &Lookup) -> Response {
    match question {
        Lookup::Manifest(content) => Response::manifest(holdings.manifest(content).as_ref()),
        Lookup::Have(wanted) => {
            let known: Vec<Wanted> = wanted.iter().copied().flatten().collect();
            let mut found = holdings.have(&known).into_iter();
            let answers = wanted
                .iter()
                .map(|wanted| wanted.and_then(|_| found.next().flatten()));
            Response::have(&answers.collect::<Vec<_>>())
        }
    }
}
