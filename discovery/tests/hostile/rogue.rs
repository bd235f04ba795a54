//! A member whose messages are written by hand, byte by byte.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::poll_fn;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::core::muxing::{StreamMuxer as _, StreamMuxerBox, SubstreamBox};
use libp2p::core::upgrade::OutboundConnectionUpgrade as _;
use potluck_discovery::{Membership, PortTls};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_util::compat::TokioAsyncReadCompatExt as _;

use crate::cbor::Cbor;
use crate::support::PATIENCE;

pub(crate) const HEADER: &[u8] = b"\x13/multistream/1.0.0\n";
pub(crate) const PROTOCOL: &[u8] = b"\x13/potluck/control/1\n";

/// What it answers, of the kind of the question; nothing is an early end.
type Answers = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// What an honest node answers.
pub(crate) fn polite(member: &Membership) -> impl Fn(&str) -> Vec<u8> + Send + Sync + use<> {
    let domain = member.domain_id().to_string();
    move |kind| match kind {
        "hello" => Cbor::map(&[("hello", hello(&domain, 1, 7381))]).0,
        "ping" => pong(),
        _ => Vec::new(),
    }
}

/// The same, but for one kind of question.
pub(crate) fn polite_but(
    member: &Membership,
    kind: &'static str,
    answer: Vec<u8>,
) -> impl Fn(&str) -> Vec<u8> + Send + Sync + use<> {
    let polite = polite(member);
    move |asked| {
        if asked == kind {
            answer.clone()
        } else {
            polite(asked)
        }
    }
}

pub(crate) fn hello(domain: &str, generation: u64, data_port: u64) -> Cbor {
    Cbor::map(&[
        ("domain", Cbor::text(domain)),
        ("generation", Cbor::uint(generation)),
        ("data_port", Cbor::uint(data_port)),
        ("control_port", Cbor::uint(7382)),
    ])
}

pub(crate) fn pong() -> Vec<u8> {
    Cbor::map(&[("pong", Cbor(vec![0xf5]))]).0
}

/// One control connection of it.
pub(crate) struct Rogue {
    wanted: mpsc::Sender<oneshot::Sender<SubstreamBox>>,
    driver: JoinHandle<()>,
}

impl Rogue {
    /// Calls a node with a member's papers, and answers what it asks with `answers`.
    pub(crate) async fn call(
        member: &Membership,
        address: SocketAddr,
        answers: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let tls = PortTls::control(member).unwrap();
        let tcp = TcpStream::connect(address).await.unwrap();
        let connector = TlsConnector::from(tls.client_config());
        let stream = connector.connect(tls.server_name(), tcp).await.unwrap();
        let mut config = libp2p::yamux::Config::default();
        config.set_max_num_streams(4_000);
        let muxer = config
            .upgrade_outbound(stream.compat(), "/yamux/1.0.0")
            .await
            .unwrap();
        let (wanted, wants) = mpsc::channel(16);
        let driver = Driver {
            muxer: StreamMuxerBox::new(muxer),
            wants,
            answers: Arc::new(answers),
            pending: None,
        };
        Self {
            wanted,
            driver: tokio::spawn(driver.run()),
        }
    }

    /// A new stream, without a word; `None` when the connection has ended.
    pub(crate) async fn stream(&self) -> Option<SubstreamBox> {
        let (reply, stream) = oneshot::channel();
        self.wanted.send(reply).await.ok()?;
        stream.await.ok()
    }

    /// Says these bytes on a new stream of the control protocol, and hears what comes.
    pub(crate) async fn says(&self, bytes: &[u8]) -> Vec<u8> {
        let Some(mut stream) = self.stream().await else {
            return Vec::new();
        };
        let mut heard = Vec::new();
        let talk = async {
            stream.write_all(HEADER).await?;
            stream.write_all(PROTOCOL).await?;
            stream.write_all(bytes).await?;
            stream.close().await?;
            stream.read_to_end(&mut heard).await
        };
        let talked = tokio::time::timeout(PATIENCE, talk).await;
        // How it ended is the node's choice; that it ended is not.
        let _ = talked.expect("the stream ends");
        let agreed = [HEADER, PROTOCOL].concat();
        heard.strip_prefix(&agreed[..]).unwrap_or_default().to_vec()
    }

    /// Asks a question and gives what comes, as text for looking into.
    pub(crate) async fn asks(&self, question: &Cbor) -> String {
        String::from_utf8_lossy(&self.says(&question.0).await).into_owned()
    }

    /// Waits until the node has closed the connection.
    pub(crate) async fn cut_off(self) {
        let ended = tokio::time::timeout(PATIENCE, self.driver).await;
        ended.expect("the connection is closed").unwrap();
    }
}

struct Driver {
    muxer: StreamMuxerBox,
    wants: mpsc::Receiver<oneshot::Sender<SubstreamBox>>,
    answers: Answers,
    pending: Option<oneshot::Sender<SubstreamBox>>,
}

impl Driver {
    /// Until the connection ends, or nobody holds the rogue any more.
    async fn run(mut self) {
        while let Some(stream) = poll_fn(|cx| self.poll(cx)).await {
            let answers = self.answers.clone();
            tokio::spawn(async move {
                let answered = answer(stream, &*answers);
                let _ = tokio::time::timeout(Duration::from_secs(60), answered).await;
            });
        }
    }

    /// The next stream that the node opens.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<SubstreamBox>> {
        loop {
            if self.pending.is_none() {
                match self.wants.poll_recv(cx) {
                    Poll::Ready(Some(reply)) => self.pending = Some(reply),
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Pending => {}
                }
            }
            let mut muxer = Pin::new(&mut self.muxer);
            if self.pending.is_some()
                && let Poll::Ready(opened) = muxer.as_mut().poll_outbound(cx)
            {
                let Ok(stream) = opened else {
                    return Poll::Ready(None);
                };
                let reply = self.pending.take();
                drop(reply.map(|reply| reply.send(stream)));
                continue;
            }
            if let Poll::Ready(opened) = muxer.as_mut().poll_inbound(cx) {
                return Poll::Ready(opened.ok());
            }
            return match muxer.poll(cx) {
                Poll::Ready(Ok(_)) => continue,
                Poll::Ready(Err(_)) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            };
        }
    }
}

/// Agrees to the protocol, hears the question and answers it.
async fn answer(
    mut stream: SubstreamBox,
    answers: &(dyn Fn(&str) -> Vec<u8> + Send + Sync),
) -> std::io::Result<()> {
    let mut agreed = vec![0; HEADER.len() + PROTOCOL.len()];
    stream.read_exact(&mut agreed).await?;
    stream.write_all(&agreed).await?;
    stream.flush().await?;
    let mut question = Vec::new();
    stream.read_to_end(&mut question).await?;
    let kinds = ["hello", "ping", "have", "manifest", "swarm"];
    let is_kind = |kind: &&&str| {
        let text = [&[0x60 | kind.len() as u8], kind.as_bytes()].concat();
        // The kind is the first field of the map.
        let at = question.windows(text.len()).position(|part| part == text);
        at.is_some_and(|at| at <= 8)
    };
    let kind = kinds.iter().find(is_kind).copied().unwrap_or("another");
    stream.write_all(&answers(kind)).await?;
    stream.close().await
}
