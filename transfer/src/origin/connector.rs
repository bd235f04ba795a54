//! Sockets to origins, made here so that their options stay within reach.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

/// Makes TCP connections for the HTTP client.
#[derive(Clone, Debug)]
pub(crate) struct SocketConnector {
    timeout: Duration,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("cannot find the address of {host}: {reason}")]
    Resolve { host: String, reason: String },
    #[error("cannot connect to {host}: {reason}")]
    Connect { host: String, reason: String },
}

/// A way to a connection's socket that does not keep the connection alive.
///
/// It comes with each answer, through TLS and HTTP/2. The governor steers a transfer
/// by the socket's options while data flows (`TCP_WINDOW_CLAMP`, `TCP_INFO`).
#[derive(Clone, Debug)]
pub struct SocketHandle(Weak<TcpStream>);

impl SocketHandle {
    pub(crate) fn new(stream: &Arc<TcpStream>) -> Self {
        Self(Arc::downgrade(stream))
    }

    /// Calls `act` with the socket; `None` when the connection is gone.
    pub fn with<T>(&self, act: impl FnOnce(SockRef<'_>) -> T) -> Option<T> {
        let stream = self.0.upgrade()?;
        Some(act(SockRef::from(&*stream)))
    }
}

impl SocketConnector {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout }
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<SharedStream>, ConnectError> {
        // A URI writes an IPv6 address in brackets; the resolver wants it without.
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let name = format!("{host}:{port}");
        let attempt = async {
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
                    Ok(Ok(stream)) => return Ok(TokioIo::new(SharedStream(Arc::new(stream)))),
                    Ok(Err(error)) => reason = format!("{address}: {error}"),
                    Err(_) => reason = format!("{address}: no answer within {share:?}"),
                }
            }
            Err(ConnectError::Connect {
                host: name.clone(),
                reason,
            })
        };
        match tokio::time::timeout(self.timeout, attempt).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::Connect {
                host: name.clone(),
                reason: format!("no answer within {:?}", self.timeout),
            }),
        }
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

/// A TCP stream that a [`SocketHandle`] can reach while it lives. The file
/// descriptor is not duplicated: that would keep the connection open after its end.
#[derive(Debug)]
pub(crate) struct SharedStream(Arc<TcpStream>);

impl Connection for SharedStream {
    fn connected(&self) -> Connected {
        Connected::new().extra(SocketHandle::new(&self.0))
    }
}

impl AsyncRead for SharedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buf.initialize_unfilled()) {
                Ok(read) => {
                    buf.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for SharedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write_when_ready(cx, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_when_ready(cx, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.0).shutdown(std::net::Shutdown::Write))
    }
}

impl SharedStream {
    fn write_when_ready(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match write(&self.0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}
