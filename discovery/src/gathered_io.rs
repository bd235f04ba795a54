//! Many small writes to a connection, sent as few large ones.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};

use futures::io::BufWriter;
use futures::task::AtomicWaker;
use futures::{AsyncRead, AsyncWrite};

/// What a record of TLS can carry.
const CAPACITY: usize = 16 << 10;

/// Gathers what is written until the runtime has looked at its other tasks.
///
/// yamux flushes after every frame, and writes a frame's header and body apart, so a
/// question of a few bytes would be eight records of TLS in eight segments. What one turn
/// of the runtime brings goes out together instead: at once when there is nothing else to
/// do, and in larger parts the more there is.
pub(crate) struct GatheredIo<T> {
    io: BufWriter<T>,
    flush: Flush,
}

/// How far a wish to flush is.
enum Flush {
    /// There is none.
    Idle,
    /// The runtime turns to others first.
    Waiting(Arc<Turn>),
    /// It is being done.
    Going,
}

/// Is over when the runtime comes back.
#[derive(Default)]
struct Turn {
    over: AtomicBool,
    waker: AtomicWaker,
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.over.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Turn {
    /// Must be called on the runtime; elsewhere it is over at once.
    fn begin() -> Arc<Self> {
        let turn = Arc::new(Self::default());
        let waker = Waker::from(Arc::clone(&turn));
        // Its first poll leaves the waker with the runtime.
        let _ = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(&waker));
        turn
    }
}

impl<T: AsyncWrite> GatheredIo<T> {
    pub(crate) fn new(io: T) -> Self {
        Self {
            io: BufWriter::with_capacity(CAPACITY, io),
            flush: Flush::Idle,
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for GatheredIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for GatheredIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &self.flush {
                Flush::Idle if self.io.buffer().is_empty() => self.flush = Flush::Going,
                Flush::Idle => self.flush = Flush::Waiting(Turn::begin()),
                Flush::Waiting(turn) => {
                    turn.waker.register(cx.waker());
                    if !turn.over.load(Ordering::Acquire) {
                        return Poll::Pending;
                    }
                    self.flush = Flush::Going;
                }
                Flush::Going => {
                    ready!(Pin::new(&mut self.io).poll_flush(cx))?;
                    self.flush = Flush::Idle;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{AsyncReadExt as _, AsyncWriteExt as _};
    use std::future::poll_fn;
    use tokio_util::compat::TokioAsyncReadCompatExt as _;

    /// Counts the writes that reach it.
    struct Counted<T>(T, usize);

    impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let written = ready!(Pin::new(&mut self.0).poll_write(cx, bytes))?;
            self.1 += 1;
            Poll::Ready(Ok(written))
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_close(cx)
        }
    }

    #[tokio::test]
    async fn what_is_flushed_frame_by_frame_goes_out_together() {
        let (near, far) = tokio::io::duplex(1 << 16);
        let mut gathered = GatheredIo::new(Counted(near.compat(), 0));
        // As yamux does: it flushes after each frame and goes on whatever comes of it.
        let mut frames = 0;
        poll_fn(|cx| {
            while frames < 8 {
                let written = Pin::new(&mut gathered).poll_write(cx, &[frames; 12]);
                assert!(matches!(written, Poll::Ready(Ok(12))));
                frames += 1;
                assert!(Pin::new(&mut gathered).poll_flush(cx).is_pending());
            }
            Pin::new(&mut gathered).poll_flush(cx)
        })
        .await
        .unwrap();
        assert_eq!(gathered.io.get_ref().1, 1);
        let mut read = [0; 96];
        far.compat().read_exact(&mut read).await.unwrap();
        let sent: Vec<u8> = (0..8).flat_map(|frame| [frame; 12]).collect();
        assert_eq!(read[..], sent);
    }

    #[tokio::test]
    async fn whoever_does_not_read_holds_the_writer_up_and_nothing_is_lost() {
        let (near, far) = tokio::io::duplex(1000);
        let mut gathered = GatheredIo::new(near.compat());
        let bytes: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        let sent = bytes.clone();
        let writing = tokio::spawn(async move {
            for part in sent.chunks(777) {
                gathered.write_all(part).await.unwrap();
                gathered.flush().await.unwrap();
            }
            gathered.write_all(b"end").await.unwrap();
            gathered.close().await.unwrap();
        });
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert!(!writing.is_finished());
        let mut read = Vec::new();
        far.compat().read_to_end(&mut read).await.unwrap();
        assert_eq!(read, [&bytes[..], b"end"].concat());
        writing.await.unwrap();
    }
}
