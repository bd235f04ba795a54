//! Questions of ours to peers.

use std::time::SystemTime;

use libp2p::PeerId;
use libp2p::request_response::{Event, Message, OutboundFailure, OutboundRequestId};
use potluck_content::{ContentId, Manifest};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::control_codec::is_unreadable;
use crate::control_message::{BAD, FULL, Hello, NOT_HELD, Refusal, Request, Response};
use crate::handle::{AskError, Command};
use crate::knock::Knocked;
use crate::swarm_task::{SwarmTask, now};
use crate::{Departure, Direction, Holding, ListStamp, PeerInfo, RejectReason};
use potluck_near::Setback;

/// Questions of our own under way at once.
const MAX_ASKED: usize = 2048;

/// A question of ours that is under way.
pub(crate) struct Asked {
    peer: PeerId,
    request: Request,
    what: AskedWhat,
    /// It was asked again, since its connection ended.
    again: bool,
}

pub(crate) enum AskedWhat {
    Hello,
    Ping,
    Revocations,
    Revoked,
    Have {
        count: usize,
        reply: oneshot::Sender<Result<Vec<Option<Holding>>, AskError>>,
    },
    Manifest {
        content: ContentId,
        reply: oneshot::Sender<Result<Manifest, AskError>>,
    },
    Knock {
        reply: oneshot::Sender<Result<Knocked, AskError>>,
    },
    Swarm {
        reply: oneshot::Sender<Result<Vec<u8>, AskError>>,
    },
}

impl SwarmTask {
    pub(crate) fn on_command(&mut self, command: Command) {
        match command {
            Command::Have {
                peer,
                wanted,
                reply,
            } => {
                let count = wanted.len();
                let what = AskedWhat::Have { count, reply };
                self.ask_listed(peer, Request::have(&wanted), what);
            }
            Command::Manifest {
                peer,
                content,
                reply,
            } => {
                let what = AskedWhat::Manifest { content, reply };
                self.ask_listed(peer, Request::manifest(content), what);
            }
            Command::Knock { peer, reply } => {
                self.ask_listed(peer, Request::knock(), AskedWhat::Knock { reply });
            }
            Command::Swarm {
                peer,
                message,
                reply,
            } => self.ask_listed(peer, Request::swarm(message), AskedWhat::Swarm { reply }),
            Command::Fault { peer, fault } => self.on_fault(peer, fault.reason),
        }
    }

    /// How this node introduces itself now.
    pub(crate) fn hello(&self) -> Hello {
        let stamp = self.standing.revocations().stamp();
        Hello {
            revocations: (stamp != ListStamp::NONE).then(|| stamp.into()),
            ..self.hello.clone()
        }
    }

    /// Sends our Hello on a new connection.
    pub(crate) fn introduce(&mut self, peer: PeerId) {
        let request = Request::hello(self.hello());
        self.ask(peer, request, AskedWhat::Hello, false);
    }

    pub(crate) fn ping(&mut self, peer: PeerId) {
        self.ask(peer, Request::ping(), AskedWhat::Ping, false);
    }

    pub(crate) fn is_pinged(&self, peer: &PeerId) -> bool {
        let mut asked = self.state.asked.values();
        asked.any(|asked| asked.peer == *peer && matches!(asked.what, AskedWhat::Ping))
    }

    pub(crate) fn on_request_event(&mut self, event: Event<Request, Response>) {
        match event {
            Event::Message {
                peer,
                connection_id,
                message:
                    Message::Request {
                        request, channel, ..
                    },
            } => {
                self.state.alive.insert(peer, Instant::now());
                if request.is_unreadable() {
                    return self.on_fault(peer, "its question cannot be read".to_owned());
                }
                self.on_question(peer, connection_id, request, channel);
            }
            Event::Message {
                peer,
                message:
                    Message::Response {
                        request_id,
                        response,
                    },
                ..
            } => {
                self.state.alive.insert(peer, Instant::now());
                self.state.checks.remove(&peer);
                self.on_response(request_id, response);
            }
            Event::OutboundFailure {
                request_id, error, ..
            } => self.on_ask_failed(request_id, &error),
            Event::InboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, %error, "question not answered");
            }
            Event::ResponseSent { .. } => {}
        }
    }

    fn ask_listed(&mut self, peer: PeerId, request: Request, what: AskedWhat) {
        if self.table.info(&peer).is_none() {
            what.fail(AskError::NotAPeer);
        } else if self.state.asked.len() >= MAX_ASKED {
            what.fail(AskError::Unavailable);
        } else {
            self.ask(peer, request, what, false);
        }
    }

    pub(crate) fn ask(&mut self, peer: PeerId, request: Request, what: AskedWhat, again: bool) {
        // Without a connection libp2p would call the peer, which is the table's to decide.
        if !self.swarm.is_connected(&peer) {
            return what.fail(AskError::Disconnected);
        }
        let requests = &mut self.swarm.behaviour_mut().requests;
        let id = requests.send_request(&peer, request.clone());
        let asked = Asked {
            peer,
            request,
            what,
            again,
        };
        self.state.asked.insert(id, asked);
    }

    fn on_response(&mut self, id: OutboundRequestId, response: Response) {
        let Some(Asked { peer, what, .. }) = self.state.asked.remove(&id) else {
            return;
        };
        let refusal = response.refusal.clone();
        match what {
            AskedWhat::Ping | AskedWhat::Revoked => {}
            AskedWhat::Revocations => {
                let answer = match refusal {
                    Some(refusal) => Err(AskError::Refused(refusal.message)),
                    None => Ok(response),
                };
                self.on_list(peer, answer);
            }
            AskedWhat::Hello => self.on_hello_answered(peer, response.hello, refusal),
            AskedWhat::Have { count, reply } => {
                let answer = match refusal {
                    Some(refusal) => Err(AskError::Refused(refusal.message)),
                    None => response.into_have(count).map_err(AskError::WrongAnswer),
                };
                self.judge(peer, &answer);
                // Who asked may have given up.
                let _ = reply.send(answer);
            }
            AskedWhat::Manifest { content, reply } => {
                let answer = match refusal {
                    Some(refusal) if refusal.code == NOT_HELD => Err(AskError::NotHeld),
                    Some(refusal) => Err(AskError::Refused(refusal.message)),
                    None => response
                        .into_manifest(content)
                        .map_err(AskError::WrongAnswer),
                };
                self.judge(peer, &answer);
                let _ = reply.send(answer);
            }
            AskedWhat::Knock { reply } => {
                let none = || AskError::WrongAnswer("no result".to_owned());
                let answer = match refusal {
                    Some(refusal) => Err(AskError::Refused(refusal.message)),
                    None => response.knocked.ok_or_else(none),
                };
                self.judge(peer, &answer);
                let _ = reply.send(answer);
            }
            AskedWhat::Swarm { reply } => {
                let answer = match refusal {
                    Some(refusal) => Err(AskError::Refused(refusal.message)),
                    None => response.into_swarm().map_err(AskError::WrongAnswer),
                };
                self.judge(peer, &answer);
                let _ = reply.send(answer);
            }
        }
    }

    fn on_hello_answered(&mut self, peer: PeerId, hello: Option<Hello>, refusal: Option<Refusal>) {
        let mut connections = self.state.connections.values_mut();
        let Some(connection) = connections.find(|it| it.peer == peer && it.is_in_use()) else {
            return;
        };
        match hello {
            Some(hello) if hello.domain == self.hello.domain && hello.data_port != 0 => {
                let mut control = connection.remote;
                control.set_port(hello.control_port);
                connection.control = (hello.control_port != 0).then_some(control);
                // With the scope that its control connection has.
                let mut address = connection.remote;
                address.set_port(hello.data_port);
                let info = PeerInfo {
                    id: peer,
                    name: connection.name.clone(),
                    address,
                    since: SystemTime::now(),
                    certificate_expires: connection.expires,
                    generation: hello.generation,
                };
                let list = hello.revocations.and_then(|form| form.stamp());
                self.table.handle_hello(info, now());
                if let Some(list) = list {
                    self.on_list_of(peer, list);
                }
            }
            Some(_) => self.on_fault(peer, "it introduced itself wrongly".to_owned()),
            None => {
                let refusal = refusal.unwrap_or_else(|| Refusal::new(BAD, "no Hello"));
                tracing::debug!(%peer, code = refusal.code, "Hello refused");
                let setback = match refusal.code.as_str() {
                    FULL => Setback::Full,
                    _ => Setback::Refused,
                };
                self.dismiss(peer, Departure::Lost(refusal.message), setback);
            }
        }
    }

    /// A wrong answer costs the peer its place.
    fn judge<T>(&mut self, peer: PeerId, answer: &Result<T, AskError>) {
        if let Err(AskError::WrongAnswer(why)) = answer {
            self.on_fault(peer, format!("wrong answer: {why}"));
        }
    }

    pub(crate) fn on_fault(&mut self, peer: PeerId, reason: String) {
        let info = self.table.info(&peer);
        let mut connections = self.state.connections.values();
        let connection = connections.find(|connection| connection.peer == peer);
        tracing::warn!(%peer, reason, "peer at fault");
        if let Some(connection) = connection {
            self.note_rejection(
                info.map_or(connection.remote, |info| info.address),
                Some(peer),
                Some(connection.name.clone()),
                RejectReason::Other(reason.clone()),
                Direction::Outbound,
            );
        }
        self.dismiss(peer, Departure::Fault(reason), Setback::Fault);
    }

    fn on_ask_failed(&mut self, id: OutboundRequestId, error: &OutboundFailure) {
        let Some(asked) = self.state.asked.remove(&id) else {
            return;
        };
        let peer = asked.peer;
        // One of two connections was closed: the other one will do.
        let closed = matches!(error, OutboundFailure::ConnectionClosed);
        if closed && !asked.again && self.swarm.is_connected(&peer) {
            return self.ask(peer, asked.request, asked.what, true);
        }
        tracing::debug!(%peer, %error, "question failed");
        if matches!(error, OutboundFailure::Io(error) if is_unreadable(error)) {
            let wrong = AskError::WrongAnswer("it cannot be read".to_owned());
            self.judge(peer, &Err::<(), _>(wrong.clone()));
            return asked.what.fail(wrong);
        }
        match asked.what {
            // Silence is counted by the clock, until it has lasted too long.
            AskedWhat::Ping => {}
            AskedWhat::Hello if !closed => {
                self.dismiss(peer, Departure::Unreachable, Setback::Unreachable);
            }
            AskedWhat::Revocations => self.on_list(peer, Err(ask_error(error))),
            what => what.fail(ask_error(error)),
        }
    }
}

fn ask_error(error: &OutboundFailure) -> AskError {
    match error {
        OutboundFailure::Timeout => AskError::TimedOut,
        _ => AskError::Disconnected,
    }
}

impl AskedWhat {
    fn fail(self, error: AskError) {
        // Who asked may have given up.
        match self {
            Self::Hello | Self::Ping | Self::Revocations | Self::Revoked => {}
            Self::Have { reply, .. } => drop(reply.send(Err(error))),
            Self::Manifest { reply, .. } => drop(reply.send(Err(error))),
            Self::Knock { reply } => drop(reply.send(Err(error))),
            Self::Swarm { reply } => drop(reply.send(Err(error))),
        }
    }
}
