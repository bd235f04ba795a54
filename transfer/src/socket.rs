//! Sockets whose options stay within reach.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A way to a connection's socket that does not keep the connection alive.
///
/// It comes with each answer, through TLS and HTTP/2. The governor steers a transfer
/// by the socket's options while data flows (`TCP_WINDOW_CLAMP`, `TCP_INFO`).
#[derive(Clone, Debug)]
pub struct SocketHandle(Weak<TcpStream>);

impl SocketHandle {
    /// Calls `act` with the socket; `None` when the connection is gone.
    pub fn with<T>(&self, act: impl FnOnce(SockRef<'_>) -> T) -> Option<T> {
        let stream = self.0.upgrade()?;
        Some(act(SockRef::from(&*stream)))
    }
}

/// A TCP stream that a [`SocketHandle`] can reach while it lives. The file
/// descriptor is not duplicated: that would keep the connection open after its end.
#[derive(Debug)]
pub(crate) struct SharedStream {
    tcp: Arc<TcpStream>,
    proxied: bool,
}

impl SharedStream {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            tcp: Arc::new(stream),
            proxied: false,
        }
    }

    pub(crate) fn handle(&self) -> SocketHandle {
        SocketHandle(Arc::downgrade(&self.tcp))
    }

    /// The other end is a proxy, which wants whole URLs.
    pub(crate) fn set_proxied(&mut self) {
        self.proxied = true;
    }

    pub(crate) fn is_proxied(&self) -> bool {
        self.proxied
    }
}

impl AsyncRead for SharedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.tcp.poll_read_ready(cx))?;
            match self.tcp.try_read(buf.initialize_unfilled()) {
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
        Poll::Ready(SockRef::from(&*self.tcp).shutdown(std::net::Shutdown::Write))
    }
}

impl SharedStream {
    fn write_when_ready(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.tcp.poll_write_ready(cx))?;
            match write(&self.tcp) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}
