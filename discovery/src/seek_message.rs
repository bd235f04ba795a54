//! The one unsealed question on the subnet: who lets in for the authority with this
//! fingerprint? And its answer: the join port of whoever does.
//!
//! ```text
//! question: PLS 1 | fingerprint 16 | nonce 16
//! answer:   PLS 2 | nonce 16 | port 2
//! ```
//!
//! The answer is shorter than the question, so nobody's traffic grows by it, and it
//! proves nothing: that is left to the handshake at the port that it names.

use crate::domain_id::Fingerprint;

/// Bytes of a question; longer ones are none.
pub(crate) const QUESTION: usize = MAGIC + 16 + 16;
const ANSWER: usize = MAGIC + 16 + 2;
const MAGIC: usize = 4;
const ASKS: &[u8; MAGIC] = b"PLS\x01";
const ANSWERS: &[u8; MAGIC] = b"PLS\x02";

/// What ties an answer to its question.
pub(crate) type Nonce = [u8; 16];

/// The question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) nonce: Nonce,
}

impl Question {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = ASKS.to_vec();
        bytes.extend_from_slice(self.fingerprint.as_bytes());
        bytes.extend_from_slice(&self.nonce);
        bytes
    }

    /// Reads a datagram; `None` if it is no question.
    pub(crate) fn parse(datagram: &[u8]) -> Option<Self> {
        let datagram: &[u8; QUESTION] = datagram.try_into().ok()?;
        let rest = datagram.strip_prefix(ASKS)?;
        let (fingerprint, nonce) = rest.split_first_chunk()?;
        Some(Self {
            fingerprint: Fingerprint::from_bytes(*fingerprint),
            nonce: nonce.try_into().ok()?,
        })
    }

    /// The answer that names `port`.
    pub(crate) fn answer(self, port: u16) -> Vec<u8> {
        let mut bytes = ANSWERS.to_vec();
        bytes.extend_from_slice(&self.nonce);
        bytes.extend_from_slice(&port.to_be_bytes());
        bytes
    }

    /// The port that an answer to this very question names.
    pub(crate) fn port_in(self, datagram: &[u8]) -> Option<u16> {
        let datagram: &[u8; ANSWER] = datagram.try_into().ok()?;
        let rest = datagram.strip_prefix(ANSWERS)?;
        let port = rest.strip_prefix(&self.nonce)?;
        let port = u16::from_be_bytes(port.try_into().ok()?);
        (port != 0).then_some(port)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn question() -> Question {
        Question {
            fingerprint: Fingerprint::from_bytes([5; 16]),
            nonce: [9; 16],
        }
    }

    #[test]
    fn question_and_answer_come_back() {
        let bytes = question().to_bytes();
        assert_eq!(bytes.len(), QUESTION);
        assert_eq!(Question::parse(&bytes), Some(question()));
        let answer = question().answer(7383);
        assert!(answer.len() <= bytes.len(), "no amplification");
        assert_eq!(question().port_in(&answer), Some(7383));
        let other = Question {
            nonce: [8; 16],
            ..question()
        };
        assert_eq!(other.port_in(&answer), None);
        assert_eq!(question().port_in(&question().answer(0)), None);
        assert_eq!(Question::parse(&answer), None);
        assert_eq!(question().port_in(&bytes), None);
    }

    proptest! {
        #[test]
        fn anything_else_is_nothing(datagram: Vec<u8>) {
            if let Some(question) = Question::parse(&datagram) {
                prop_assert_eq!(question.to_bytes(), datagram.clone());
            }
            let port = question().port_in(&datagram);
            prop_assert!(port.is_none() || datagram == question().answer(port.unwrap()));
        }

        #[test]
        fn a_cut_or_a_longer_one_is_nothing(len in 0usize..80) {
            let mut bytes = question().to_bytes();
            bytes.resize(len, 0);
            prop_assert_eq!(Question::parse(&bytes).is_some(), len == QUESTION);
        }
    }
}
