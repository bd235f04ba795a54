//! Connections to origins, made here so that their sockets stay within reach.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};

use crate::origin::proxy::Proxies;
use crate::socket::SharedStream;

/// Makes TCP connections for the HTTP client.
#[derive(Clone, Debug)]
pub(crate) struct SocketConnector {
    timeout: Duration,
    proxies: Proxies,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("cannot find the address of {host}: {reason}")]
    Resolve { host: String, reason: String },
    #[error("cannot connect to {host}: {reason}")]
    Connect { host: String, reason: String },
    #[error("the proxy {proxy}: {reason}")]
    Proxy {
        proxy: String,
        /// What it answered, where it did.
        status: Option<u16>,
        reason: String,
    },
}

impl SocketConnector {
    pub(crate) fn new(timeout: Duration, proxies: Proxies) -> Self {
        Self { timeout, proxies }
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<SharedStream>, ConnectError> {
        // A URI writes an IPv6 address in brackets; the resolver wants it without.
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let target = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let hop = self.proxies.hop(&uri)?;
        let attempt = async {
            let Some(hop) = &hop else {
                return self.open(host, port).await;
            };
            let opened = self.open(hop.host.as_str(), hop.port).await;
            let mut stream = opened.map_err(|error| ConnectError::Proxy {
                proxy: hop.to_string(),
                status: None,
                reason: error.to_string(),
            })?;
            if let Some(socks) = &hop.socks {
                return socks.connect(hop, stream, (host, port)).await;
            }
            if secure {
                hop.tunnel(&mut stream, &target).await?;
            } else {
                stream.set_proxied();
            }
            Ok(stream)
        };
        match tokio::time::timeout(self.timeout, attempt).await {
            Ok(result) => result.map(TokioIo::new),
            Err(_) => Err(ConnectError::Connect {
                host: target.clone(),
                reason: format!("no answer within {:?}", self.timeout),
            }),
        }
    }

    async fn open(&self, host: &str, port: u16) -> Result<SharedStream, ConnectError> {
        let name = format!("{host}:{port}");
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let addresses: Vec<_> = tokio::net::lookup_host((host, port))
            .await
            .map_err(|e| ConnectError::Resolve {
                host: host.to_owned(),
                reason: e.to_string(),
            })?
            .collect();
        let mut reason = "it has no address".to_owned();
        // An address that does not answer must not use up the time of the others.
        let share = self.timeout / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        for address in addresses {
            match tokio::time::timeout(share, open(address)).await {
                Ok(Ok(stream)) => return Ok(SharedStream::new(stream)),
                Ok(Err(error)) => reason = format!("{address}: {error}"),
                Err(_) => reason = format!("{address}: no answer within {share:?}"),
            }
        }
        Err(ConnectError::Connect { host: name, reason })
    }
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl tower_service::Service<Uri> for SocketConnector {
    type Response = TokioIo<SharedStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

impl Connection for SharedStream {
    fn connected(&self) -> Connected {
        Connected::new()
            .proxy(self.is_proxied())
            .extra(self.handle())
    }
}
