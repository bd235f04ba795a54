//! What nodes say to each other on control connections.
//!
//! Messages are CBOR maps. What a reader does not know it skips; a kind of question
//! that it does not know it answers with a refusal, so newer nodes can ask older ones.

use potluck_content::{Bitfield, ChainingValue, ContentId, Layout, Manifest};
use serde::{Deserialize, Serialize};

use crate::byte_string::ByteString;
use crate::knock::Knocked;
use crate::revocation_message::{ListForm, StampForm};
use crate::wanted_text::{wanted_of, wanted_text};
use crate::{
    BadList, Holding, ListStamp, MAX_SWARM_MESSAGE, MAX_WANTED, Serves, SignedList, Wanted,
};

/// The protocol on a stream of a control connection.
pub(crate) const PROTOCOL: &str = "/potluck/control/1";
/// The longest question: 64 wanted things take less than a sixth of it.
pub(crate) const MAX_REQUEST: u64 = 64 * 1024;
/// The longest answer: the chaining values of 16,384 pieces take half of it.
pub(crate) const MAX_RESPONSE: u64 = 1024 * 1024;

/// A question as it travels.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Request {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hello: Option<Hello>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    wanted: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<ContentId>,
    /// What came was no question at all.
    #[serde(skip)]
    unreadable: bool,
    /// The revocations that the asking node has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revocations: Option<StampForm>,
    /// About the swarms of contents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) swarm: Option<ByteString>,
}

/// A question that was understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Question {
    Hello(Hello),
    Have(Vec<Option<Wanted>>),
    Manifest(ContentId),
    Knock,
    Ping,
    /// For the list of revocations.
    Revocations,
    /// No question but news: the asking node has these revocations now.
    Revoked(ListStamp),
    /// A message about the swarms of contents.
    Swarm(Vec<u8>),
}

/// An answer as it travels: exactly one field is there.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Response {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hello: Option<Hello>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    have: Option<Vec<Option<HoldingForm>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest: Option<ManifestForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pong: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) knocked: Option<Knocked>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revocations: Option<ListForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) swarm: Option<ByteString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refusal: Option<Refusal>,
}

/// How a node introduces itself. Its name and id are in its certificate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The domain's id, to be sure.
    pub(crate) domain: String,
    /// The node's start, in milliseconds since 1970.
    pub(crate) generation: u64,
    /// Where it serves data, at the address of this connection.
    pub(crate) data_port: u16,
    /// Where it takes control connections.
    pub(crate) control_port: u16,
    /// The revocations that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revocations: Option<StampForm>,
}

/// Why a question is not answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) message: String,
}

/// The node has as many peers as it wants.
pub(crate) const FULL: &str = "full";
/// The node does not hold the content.
pub(crate) const NOT_HELD: &str = "not_held";
/// The node does not understand the question.
pub(crate) const UNKNOWN: &str = "unknown_question";
/// The question breaks a rule.
pub(crate) const BAD: &str = "bad_question";
/// The asking node was revoked.
pub(crate) const REVOKED: &str = "revoked";
/// The node has too much to do.
pub(crate) const BUSY: &str = "busy";

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct HoldingForm {
    content: ByteString,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bitfield: Option<ByteString>,
    /// Peers at once, and bit/s to all of them (0: unlimited).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    serves: Option<(u32, u64)>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct ManifestForm {
    size: u64,
    values: ByteString,
}

impl Request {
    pub(crate) fn hello(hello: Hello) -> Self {
        Self {
            hello: Some(hello),
            ..Self::of_kind("hello")
        }
    }

    pub(crate) fn have(wanted: &[Wanted]) -> Self {
        Self {
            wanted: wanted.iter().map(wanted_text).collect(),
            ..Self::of_kind("have")
        }
    }

    pub(crate) fn manifest(content: ContentId) -> Self {
        Self {
            content: Some(content),
            ..Self::of_kind("manifest")
        }
    }

    pub(crate) fn knock() -> Self {
        Self::of_kind("knock")
    }

    pub(crate) fn ping() -> Self {
        Self::of_kind("ping")
    }

    /// Stands for something that is no question.
    pub(crate) fn unreadable() -> Self {
        Self {
            unreadable: true,
            ..Self::default()
        }
    }

    pub(crate) const fn is_unreadable(&self) -> bool {
        self.unreadable
    }

    pub(crate) fn revocations() -> Self {
        Self::of_kind("revocations")
    }

    pub(crate) fn revoked(stamp: ListStamp) -> Self {
        Self {
            revocations: Some(stamp.into()),
            ..Self::of_kind("revoked")
        }
    }

    pub(crate) fn of_kind(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            ..Self::default()
        }
    }

    /// Understands the question, or says why it is refused.
    pub(crate) fn question(self) -> Result<Question, Refusal> {
        let stamp = self.revocations.and_then(|form| form.stamp());
        if let ("revoked", Some(stamp)) = (self.kind.as_str(), stamp) {
            return Ok(Question::Revoked(stamp));
        }
        let swarm = self.swarm.filter(|it| it.0.len() <= MAX_SWARM_MESSAGE);
        if let ("swarm", Some(message)) = (self.kind.as_str(), swarm) {
            return Ok(Question::Swarm(message.0));
        }
        match (self.kind.as_str(), self.hello, self.content) {
            ("hello", Some(hello), _) => Ok(Question::Hello(hello)),
            ("have", _, _) if self.wanted.len() <= MAX_WANTED => {
                let wanted = self.wanted.iter().map(|text| wanted_of(text));
                Ok(Question::Have(wanted.collect()))
            }
            ("manifest", _, Some(content)) => Ok(Question::Manifest(content)),
            ("knock", _, _) => Ok(Question::Knock),
            ("ping", _, _) => Ok(Question::Ping),
            ("revocations", _, _) => Ok(Question::Revocations),
            ("hello" | "have" | "manifest" | "revoked" | "swarm", _, _) => {
                Err(Refusal::new(BAD, "a field is missing or too long"))
            }
            _ => Err(Refusal::new(
                UNKNOWN,
                "this node does not know the question",
            )),
        }
    }
}

impl Refusal {
    pub(crate) fn new(code: &str, message: &str) -> Self {
        Self {
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal: Some(refusal),
            ..Self::default()
        }
    }
}

impl Response {
    pub(crate) fn hello(hello: Hello) -> Self {
        Self {
            hello: Some(hello),
            ..Self::default()
        }
    }

    pub(crate) fn knocked(knocked: Knocked) -> Self {
        Self {
            knocked: Some(knocked),
            ..Self::default()
        }
    }

    pub(crate) fn pong() -> Self {
        Self {
            pong: Some(true),
            ..Self::default()
        }
    }

    pub(crate) fn revocations(signed: Option<&SignedList>) -> Self {
        match signed {
            Some(signed) => Self {
                revocations: Some(signed.into()),
                ..Self::default()
            },
            None => Refusal::new(NOT_HELD, "this node knows of no revocation").into(),
        }
    }

    /// Reads a list of revocations; whether it counts is still to be seen.
    pub(crate) fn into_revocations(self) -> Result<SignedList, String> {
        let form = self
            .revocations
            .ok_or("the answer is to another question")?;
        form.read().map_err(|error: BadList| error.to_string())
    }

    pub(crate) fn have(holdings: &[Option<Holding>]) -> Self {
        let form = |holding: &Holding| HoldingForm {
            content: ByteString(holding.content.as_bytes().to_vec()),
            size: holding.size,
            bitfield: holding
                .bitfield
                .as_ref()
                .map(|field| ByteString(field.as_bytes().to_vec())),
            serves: holding.serves.map(|serves| {
                let rate = serves.bits_per_second;
                (serves.clients, rate.map_or(0, |bits| bits.max(1)))
            }),
        };
        Self {
            have: Some(holdings.iter().map(|it| it.as_ref().map(form)).collect()),
            ..Self::default()
        }
    }

    pub(crate) fn manifest(manifest: Option<&Manifest>) -> Self {
        let Some(manifest) = manifest else {
            return Refusal::new(NOT_HELD, "this node does not hold the content").into();
        };
        let values = manifest.values().iter().flat_map(|value| *value.as_bytes());
        Self {
            manifest: Some(ManifestForm {
                size: manifest.size(),
                values: ByteString(values.collect()),
            }),
            ..Self::default()
        }
    }

    /// Reads the answer to a `have` question about so many things.
    pub(crate) fn into_have(self, asked: usize) -> Result<Vec<Option<Holding>>, String> {
        let forms = self.have.ok_or("the answer is to another question")?;
        if forms.len() != asked {
            return Err(format!("{} answers to {asked} questions", forms.len()));
        }
        let read = |form: HoldingForm| -> Result<Holding, String> {
            let id = <[u8; 32]>::try_from(form.content.0.as_slice())
                .map_err(|_| "a content id has 32 bytes")?;
            let layout = Layout::for_size(form.size).map_err(|error| error.to_string())?;
            let bitfield = form
                .bitfield
                .map(|bytes| Bitfield::from_bytes(layout.pieces(), bytes.0))
                .transpose();
            Ok(Holding {
                content: ContentId::from_bytes(id),
                size: form.size,
                bitfield: bitfield.map_err(|error| error.to_string())?,
                serves: form.serves.map(|(clients, bits)| Serves {
                    clients,
                    bits_per_second: (bits > 0).then_some(bits),
                }),
            })
        };
        let forms = forms.into_iter();
        forms.map(|form| form.map(read).transpose()).collect()
    }

    /// Reads and proves a manifest.
    pub(crate) fn into_manifest(self, content: ContentId) -> Result<Manifest, String> {
        let form = self.manifest.ok_or("the answer is to another question")?;
        let (values, rest) = form.values.0.as_chunks::<32>();
        if !rest.is_empty() {
            return Err("a chaining value has 32 bytes".to_owned());
        }
        let values = values
            .iter()
            .map(|bytes| ChainingValue::from_bytes(*bytes))
            .collect();
        Manifest::new(content, form.size, values).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
#[path = "control_message_tests.rs"]
mod tests;
