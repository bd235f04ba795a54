//! Asking a peer for pieces of an entity.

use std::ops::Range;
use std::time::Duration;

use potluck_content::EntityKey;

use crate::peer_client::connection::Connection;
use crate::peer_client::{Asked, Named, PeerAddress, PeerBody, PeerClient, PeerError};

/// The longest preface.
const MAX_PREFACE: u64 = 1 << 20;

/// How long a preface may take once the answer has begun.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);

impl PeerClient {
    /// Asks for a run of pieces of an entity, `len` bytes in all. Waits as long as the
    /// peer lets us wait for our turn. Gives the preface, which is not looked at here,
    /// and the bytes; they end early when a certificate ends, and may be asked for anew.
    ///
    /// # Errors
    /// When the peer does not answer, or with more or fewer bytes.
    pub async fn get_pieces(
        &self,
        peer: PeerAddress,
        entity: &EntityKey,
        pieces: Range<u32>,
        len: u64,
    ) -> Result<(Vec<u8>, PeerBody), PeerError> {
        let question = format!(
            "GET /v1/swarms/{entity}/pieces/{}-{} HTTP/1.1\r\nhost: {}\r\n\r\n",
            pieces.start,
            pieces.end.saturating_sub(1),
            peer.address,
        );
        let (mut connection, head) = self.ask(peer, &question).await?;
        if head.status != 200 {
            return Err(self.refusal(peer, connection, &head));
        }
        let size = preface_size(head.preface, head.content_length, len)?;
        let mut preface = vec![0; size];
        let read = read_whole(&mut connection, &mut preface);
        match tokio::time::timeout(PREFACE_TIMEOUT, read).await {
            Ok(read) => read?,
            Err(_) => {
                return Err(PeerError::Broken("its preface does not come".to_owned()));
            }
        }
        let (of, range) = (Named::Pieces, 0..len);
        let asked = Asked { peer, of, range };
        Ok((preface, PeerBody::new(self.clone(), asked, connection)))
    }
}

/// How long the preface is, if it and the pieces are all that comes.
fn preface_size(
    preface: Option<u64>,
    content_length: Option<u64>,
    len: u64,
) -> Result<usize, PeerError> {
    let broken = |what: String| Err(PeerError::Protocol(what));
    let Some(preface) = preface.filter(|preface| *preface <= MAX_PREFACE) else {
        return broken(format!(
            "its pieces have no preface of at most {MAX_PREFACE} bytes"
        ));
    };
    if content_length != preface.checked_add(len) {
        return broken(format!(
            "it sent {content_length:?} bytes where {len} were asked for, after {preface}"
        ));
    }
    Ok(usize::try_from(preface).expect("at most a MiB"))
}

async fn read_whole(connection: &mut Connection, buffer: &mut [u8]) -> Result<(), PeerError> {
    let mut at = 0;
    while at < buffer.len() {
        at += connection.read(&mut buffer[at..]).await?;
    }
    Ok(())
}
