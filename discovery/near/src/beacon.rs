//! The datagrams by which nodes of one subnet find each other.

use libp2p_identity::PeerId;

/// The longest datagram that is sent or read: it fits into one Ethernet frame with
/// room to spare, so it is never cut into fragments.
pub const MAX_DATAGRAM: usize = 1200;

/// The most known peers that a PROBE names; the others may answer in vain.
pub const MAX_KNOWN: usize = 128;

/// The longest name that travels, in bytes.
const MAX_NAME: usize = 64;

/// What one node tells the subnet, before it is sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Beacon {
    /// Who sends it.
    pub sender: PeerId,
    /// The sender's start, in milliseconds since 1970. Tells its runs apart.
    pub generation: u64,
    /// Counts the sender's datagrams in this run, from 1.
    pub sequence: u64,
    /// The sender's clock, in milliseconds since 1970.
    pub time: u64,
    /// How many nodes the sender hears, itself included.
    pub population: u32,
    /// Where the sender takes control connections; never 0.
    pub control_port: u16,
    /// Where it serves data.
    pub data_port: u16,
    /// The name it goes by, of at most 64 bytes.
    pub name: String,
    /// What it says.
    pub message: BeaconMessage,
}

/// What a beacon says, besides who speaks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BeaconMessage {
    /// I am here.
    Hello,
    /// Who is here? About `wanted` answers are asked for, and none from `known`.
    Probe {
        /// How many answers are asked for.
        wanted: u16,
        /// Who need not answer; at most [`MAX_KNOWN`].
        known: Vec<ShortHash>,
    },
    /// I am here, since you ask.
    Match,
    /// I go.
    Bye,
}

/// Four bytes that stand for a peer in one PROBE. They differ from PROBE to PROBE,
/// so that two peers which share them once do not share them always.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ShortHash([u8; 4]);

impl ShortHash {
    /// Stands for `peer` in the PROBE with this sequence number.
    pub fn of(peer: &PeerId, sequence: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&sequence.to_le_bytes());
        hasher.update(&peer.to_bytes());
        let hash = hasher.finalize();
        let bytes = hash.as_bytes();
        Self([bytes[0], bytes[1], bytes[2], bytes[3]])
    }
}

/// Bytes that are no beacon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a beacon")]
pub struct BeaconError;

const HELLO: u8 = 1;
const PROBE: u8 = 2;
const MATCH: u8 = 3;
const BYE: u8 = 4;

impl Beacon {
    /// The form that is sealed. A name too long is cut, known peers too many are left
    /// out.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        let (kind, probe) = match &self.message {
            BeaconMessage::Hello => (HELLO, None),
            BeaconMessage::Probe { wanted, known } => (PROBE, Some((wanted, known))),
            BeaconMessage::Match => (MATCH, None),
            BeaconMessage::Bye => (BYE, None),
        };
        out.push(kind);
        put_bytes(&mut out, &self.sender.to_bytes());
        out.extend(self.generation.to_be_bytes());
        out.extend(self.sequence.to_be_bytes());
        out.extend(self.time.to_be_bytes());
        out.extend(self.population.to_be_bytes());
        out.extend(self.control_port.to_be_bytes());
        out.extend(self.data_port.to_be_bytes());
        put_bytes(&mut out, cut(&self.name, MAX_NAME).as_bytes());
        if let Some((wanted, known)) = probe {
            let known = &known[..known.len().min(MAX_KNOWN)];
            out.extend(wanted.to_be_bytes());
            out.push(u8::try_from(known.len()).expect("at most 128"));
            out.extend(known.iter().flat_map(|hash| hash.0));
        }
        out
    }

    /// Reads what was unsealed.
    pub fn decode(bytes: &[u8]) -> Result<Self, BeaconError> {
        let mut reader = Reader(bytes);
        let kind = reader.byte()?;
        let sender = PeerId::from_bytes(reader.bytes()?).map_err(|_| BeaconError)?;
        let generation = reader.u64()?;
        let sequence = reader.u64()?;
        let time = reader.u64()?;
        let population = u32::from_be_bytes(reader.array()?);
        let control_port = u16::from_be_bytes(reader.array()?);
        let data_port = u16::from_be_bytes(reader.array()?);
        let name = std::str::from_utf8(reader.bytes()?).map_err(|_| BeaconError)?;
        let message = match kind {
            HELLO => BeaconMessage::Hello,
            PROBE => BeaconMessage::Probe {
                wanted: u16::from_be_bytes(reader.array()?),
                known: reader.known()?,
            },
            MATCH => BeaconMessage::Match,
            BYE => BeaconMessage::Bye,
            _ => return Err(BeaconError),
        };
        let sane = reader.0.is_empty()
            && name.len() <= MAX_NAME
            && control_port != 0
            && sequence != 0
            && !name.chars().any(char::is_control);
        if !sane {
            return Err(BeaconError);
        }
        Ok(Self {
            sender,
            generation,
            sequence,
            time,
            population,
            control_port,
            data_port,
            name: name.to_owned(),
            message,
        })
    }
}

/// The longest start of `text` that has at most `max` bytes.
fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u8::try_from(bytes.len()).expect("peer ids and names are short");
    out.push(length);
    out.extend_from_slice(bytes);
}

/// The rest of what is to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], BeaconError> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(BeaconError)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BeaconError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(BeaconError)?;
        self.0 = rest;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, BeaconError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn u64(&mut self) -> Result<u64, BeaconError> {
        self.array().map(u64::from_be_bytes)
    }

    fn bytes(&mut self) -> Result<&'a [u8], BeaconError> {
        let length = self.byte()?;
        self.take(length.into())
    }

    fn known(&mut self) -> Result<Vec<ShortHash>, BeaconError> {
        let count = usize::from(self.byte()?);
        if count > MAX_KNOWN {
            return Err(BeaconError);
        }
        (0..count).map(|_| self.array().map(ShortHash)).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Some peer id, the same for the same number.
    pub(crate) fn peer(number: u64) -> PeerId {
        // An Ed25519 key as libp2p writes it; the number stands where the key would.
        let mut bytes = [0; 38];
        bytes[..6].copy_from_slice(&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20]);
        bytes[6..14].copy_from_slice(&number.to_le_bytes());
        PeerId::from_bytes(&bytes).unwrap()
    }

    pub(crate) fn beacon(sender: PeerId, message: BeaconMessage) -> Beacon {
        Beacon {
            sender,
            generation: 1_000,
            sequence: 1,
            time: 2_000,
            population: 7,
            control_port: 7382,
            data_port: 7381,
            name: "cellar".to_owned(),
            message,
        }
    }

    #[test]
    fn reads_what_it_writes() {
        let known = (0..MAX_KNOWN as u64)
            .map(|n| ShortHash::of(&peer(n), 1))
            .collect();
        for message in [
            BeaconMessage::Hello,
            BeaconMessage::Probe { wanted: 24, known },
            BeaconMessage::Match,
            BeaconMessage::Bye,
        ] {
            let sent = beacon(peer(1), message);
            let bytes = sent.encode();
            assert!(bytes.len() + 64 < MAX_DATAGRAM, "{} bytes", bytes.len());
            assert_eq!(Beacon::decode(&bytes).unwrap(), sent);
            for end in 0..bytes.len() {
                assert_eq!(
                    Beacon::decode(&bytes[..end]),
                    Err(BeaconError),
                    "cut at {end}"
                );
            }
        }
    }

    #[test]
    fn cuts_names_between_letters() {
        let mut sent = beacon(peer(1), BeaconMessage::Hello);
        sent.name = "ä".repeat(40);
        let read = Beacon::decode(&sent.encode()).unwrap();
        assert_eq!(read.name, "ä".repeat(32));
        assert_eq!(cut("äb", 1), "");
    }

    #[test]
    fn a_short_hash_is_another_in_the_next_probe() {
        assert_ne!(ShortHash::of(&peer(1), 1), ShortHash::of(&peer(1), 2));
        assert_ne!(ShortHash::of(&peer(1), 1), ShortHash::of(&peer(2), 1));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Beacon::decode(&bytes);
        }

        #[test]
        fn never_panics_on_what_is_nearly_right(at in 0_usize..200, byte in any::<u8>()) {
            let known = vec![ShortHash([1; 4]); 5];
            let mut bytes = beacon(peer(1), BeaconMessage::Probe { wanted: 3, known }).encode();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(read) = Beacon::decode(&bytes) {
                prop_assert_eq!(read.encode(), bytes);
            }
        }
    }
}
