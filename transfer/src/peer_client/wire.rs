//! HTTP/1.1 on one connection to a peer.
//!
//! The client's side of HTTP/1.1 is spoken here rather than by a library: bodies are
//! read straight into the piece they belong to, without a copy and without a second
//! task between.

use std::io;
use std::sync::Arc;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::peer_client::PeerError;
use crate::socket::{SharedStream, SocketHandle};

/// rustls reads one record at a time; a buffer below it saves four of five calls.
const READ_BUFFER: usize = 128 << 10;

/// The longest head of an answer.
const MAX_HEAD: usize = 8 << 10;

/// A secured connection, whoever is at its other end.
pub(crate) struct Wire {
    stream: TlsStream<BufReader<SharedStream>>,
    /// Bytes of the body that came with the head, from `at` on.
    early: Vec<u8>,
    at: usize,
    keep: bool,
}

/// What the head of an answer says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) content_range: Option<String>,
    pub(crate) content_length: Option<u64>,
    pub(crate) retry_after: Option<u64>,
    /// Bytes of the body that come before those of the pieces.
    pub(crate) preface: Option<u64>,
    pub(crate) close: bool,
}

impl Wire {
    pub(crate) async fn secure(
        stream: SharedStream,
        config: Arc<rustls::ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        let stream = BufReader::with_capacity(READ_BUFFER, stream);
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        Ok(Self {
            stream,
            early: Vec::new(),
            at: 0,
            keep: true,
        })
    }

    pub(crate) fn tls(&self) -> &rustls::ClientConnection {
        self.stream.get_ref().1
    }

    pub(crate) fn socket(&self) -> SocketHandle {
        self.stream.get_ref().0.get_ref().handle()
    }

    pub(crate) fn may_be_kept(&self) -> bool {
        self.keep && self.at == self.early.len()
    }

    /// Sends a question and reads the head of its answer.
    pub(crate) async fn ask(&mut self, question: &[u8]) -> Result<Head, PeerError> {
        let broken = |error: io::Error| PeerError::Broken(error.to_string());
        self.stream.write_all(question).await.map_err(broken)?;
        self.stream.flush().await.map_err(broken)?;
        self.early.clear();
        self.at = 0;
        loop {
            let before = self.early.len();
            self.early.resize(before + 1024, 0);
            let read = self.stream.read(&mut self.early[before..]).await;
            self.early.truncate(before + *read.as_ref().unwrap_or(&0));
            if read.map_err(broken)? == 0 {
                return Err(PeerError::Broken(
                    "it hung up before it answered".to_owned(),
                ));
            }
            if let Some((head, len)) = parse(&self.early)? {
                self.at = len;
                self.keep = !head.close;
                return Ok(head);
            }
            if self.early.len() > MAX_HEAD {
                return Err(PeerError::Protocol(
                    "the head of its answer is too long".to_owned(),
                ));
            }
        }
    }

    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, PeerError> {
        if self.at < self.early.len() {
            let len = buffer.len().min(self.early.len() - self.at);
            buffer[..len].copy_from_slice(&self.early[self.at..self.at + len]);
            self.at += len;
            return Ok(len);
        }
        match self.stream.read(buffer).await {
            Ok(0) => Err(PeerError::Broken("it hung up in the middle".to_owned())),
            Ok(read) => Ok(read),
            Err(error) => Err(PeerError::Broken(error.to_string())),
        }
    }
}

/// The head and its length, once it is there whole.
fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, PeerError> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut answer = httparse::Response::new(&mut fields);
    let len = match answer.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(PeerError::Protocol(format!("no HTTP: {error}"))),
    };
    let field = |name: &str| {
        let found = answer
            .headers
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case(name));
        found
            .and_then(|field| std::str::from_utf8(field.value).ok())
            .map(str::trim)
    };
    if field("transfer-encoding").is_some() {
        return Err(PeerError::Protocol("its answer has no length".to_owned()));
    }
    let head = Head {
        status: answer.code.unwrap_or_default(),
        content_range: field("content-range").map(str::to_owned),
        content_length: field("content-length").and_then(|text| text.parse().ok()),
        retry_after: field("retry-after").and_then(|text| text.parse().ok()),
        preface: field("potluck-preface").and_then(|text| text.parse().ok()),
        close: field("connection").is_some_and(|text| text.eq_ignore_ascii_case("close")),
    };
    Ok(Some((head, len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_heads_and_refuses_noise() {
        let text = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/9\r\n\
            content-length: 2\r\n\r\nab";
        let (head, len) = parse(text).unwrap().unwrap();
        assert_eq!(
            (head.status, head.content_length, len),
            (206, Some(2), text.len() - 2)
        );
        assert_eq!(head.content_range.as_deref(), Some("bytes 0-1/9"));
        assert_eq!(parse(&text[..20]).unwrap(), None);
        assert!(parse(b"SSH-2.0-OpenSSH\r\n\r\n").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
