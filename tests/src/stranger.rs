//! Somebody with the wrong papers, or none, who calls nodes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Stream};

use crate::credulous::{Credulous, provider};
use crate::{Host, Papers};

const PATIENCE: Duration = Duration::from_secs(15);

/// What a stranger who called got.
#[derive(Debug)]
pub struct Answer {
    /// Bytes inside the encryption, beyond the handshake.
    pub bytes: Vec<u8>,
    /// How the connection ended.
    pub end: String,
}

/// Calls `address` from `host` with these papers, sends `request` and listens to the end.
pub fn call(
    host: &Host,
    address: SocketAddr,
    alpn: &[u8],
    papers: &Papers,
    request: &[u8],
) -> Result<Answer> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous(provider())));
    let mut config = match papers.shown()? {
        Some(shown) => builder.with_client_cert_resolver(shown),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    let mut connection =
        ClientConnection::new(Arc::new(config), ServerName::try_from("stranger.example")?)?;
    host.inside(|| {
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut stream = Stream::new(&mut connection, &mut socket);
        // In TLS 1.3 a client is refused only after it has spoken.
        let sent = stream.write_all(request).and_then(|()| stream.flush());
        let mut bytes = Vec::new();
        let end = match sent {
            Ok(()) => read_all(&mut stream, &mut bytes),
            Err(error) => error.to_string(),
        };
        Ok(Answer { bytes, end })
    })?
}

/// Calls `address` from `host` and speaks no TLS at all.
pub fn call_in_plain_text(host: &Host, address: SocketAddr, text: &[u8]) -> Result<Answer> {
    host.inside(|| {
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut bytes = Vec::new();
        let end = match socket.write_all(text) {
            Ok(()) => read_all(&mut socket, &mut bytes),
            Err(error) => error.to_string(),
        };
        Ok(Answer { bytes, end })
    })?
}

pub(crate) fn read_all(stream: &mut impl Read, bytes: &mut Vec<u8>) -> String {
    match stream.read_to_end(bytes) {
        Ok(_) => "closed".to_owned(),
        Err(error) if error.kind() == ErrorKind::WouldBlock => "still open".to_owned(),
        Err(error) => error.to_string(),
    }
}
