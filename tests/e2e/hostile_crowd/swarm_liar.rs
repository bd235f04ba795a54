//! A member of the domain that says it has all of every file, and gives something else.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use bytes::Bytes;
use potluck_cache::{Cache, Config as CacheConfig};
use potluck_content::{ContentId, EntityKey, HashedPiece, Layout, Manifest};
use potluck_discovery::{
    Config, Holding, Holdings, Membership, PeerId, Revocations, Standing, SwarmDesk, Wanted,
};
use potluck_plan::{GovernorConfig, News, NewsKind, Rate, decode_news, encode_news};
use potluck_tests::{Blob, Host, Node};
use potluck_transfer::{
    CacheHoldings, DomainTrust, PeerServer, PeerServerConfig, Rates, Readable, SwarmPieces,
    SwarmShelf, SwarmShelfLimits, TrafficCounts, Vouching,
};
use tokio_util::sync::CancellationToken;

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Signs the hashes of the wrong bytes that it gives.
    WrongSigner,
    /// Signs the right hashes and gives wrong bytes.
    WrongServer,
}

/// A running one; it stops when dropped.
pub(crate) struct SwarmLiar {
    id: String,
    traffic: TrafficCounts,
    stop: CancellationToken,
    thread: Option<JoinHandle<Result<Result<()>>>>,
}

struct Desk {
    right: Bytes,
    wrong: Bytes,
    lie: Lie,
    shelf: SwarmShelf,
    vouching: Arc<Vouching>,
    known: Mutex<Vec<EntityKey>>,
}

impl SwarmLiar {
    /// Starts it in the place of `node`, which has joined the domain and whose daemon
    /// does not run.
    pub(crate) fn start(node: &Node, peers: &[&Host], blob: &Blob, lie: Lie) -> Result<Self> {
        let membership = Membership::load(&node.data_dir())?.context("it has not joined")?;
        let (stop, traffic) = (CancellationToken::new(), TrafficCounts::default());
        let id = membership.peer_id().to_string();
        let listen = SocketAddr::new(node.host().address(), Node::DATA_PORT);
        let config = Config {
            static_peers: peers
                .iter()
                .map(|peer| format!("{}:{}", peer.address(), Node::DATA_PORT))
                .collect(),
            ..Config::for_listen(listen)
        };
        let (dir, blob) = (node.data_dir().join("lies"), blob.clone());
        let (ended, counts) = (stop.clone(), traffic.clone());
        let thread = node.host().spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?;
            runtime.block_on(live(
                config,
                listen,
                &membership,
                dir,
                &blob,
                lie,
                counts,
                ended,
            ))
        })?;
        Ok(Self {
            id,
            traffic,
            stop,
            thread: Some(thread),
        })
    }

    /// Its id in peer lists.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Bytes that it gave to the others.
    pub(crate) fn given(&self) -> u64 {
        self.traffic.served()
    }
}

impl Drop for SwarmLiar {
    fn drop(&mut self) {
        self.stop.cancel();
        let ended = self.thread.take().map(JoinHandle::join);
        if let Some(Ok(Ok(Err(error)) | Err(error))) = ended {
            eprintln!("the liar: {error:#}");
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "all that it is")]
async fn live(
    config: Config,
    listen: SocketAddr,
    membership: &Membership,
    dir: PathBuf,
    blob: &Blob,
    lie: Lie,
    traffic: TrafficCounts,
    stop: CancellationToken,
) -> Result<()> {
    let standing = Standing::new(membership, Revocations::in_memory(membership))?;
    let cache = Cache::open(CacheConfig::new(dir, 1 << 30))?;
    let shelf = SwarmShelf::new(cache.clone(), SwarmShelfLimits::default());
    let right = Bytes::copy_from_slice(blob.bytes());
    let mut wrong = right.to_vec();
    wrong
        .iter_mut()
        .step_by(100_000)
        .for_each(|byte| *byte ^= 1);
    let desk = Desk {
        right,
        wrong: wrong.into(),
        lie,
        shelf: shelf.clone(),
        vouching: Arc::new(Vouching::new(Arc::new(standing.clone()))),
        known: Mutex::default(),
    };
    let rates = Rates::new(GovernorConfig {
        served: Rate::Unlimited,
        ..GovernorConfig::default()
    });
    let _server = PeerServer::start(
        PeerServerConfig::default(),
        tokio::net::TcpListener::bind(listen).await?,
        Arc::new(DomainTrust::noting(standing.clone(), |_| {})),
        Arc::new(CacheHoldings::new(cache).with_swarms(shelf)),
        rates,
        traffic,
    )?;
    let (holdings, desk) = (Arc::new(Nothing), Arc::new(desk));
    let (_handle, service) =
        potluck_discovery::start(&config, &standing, holdings, Some(desk), stop)?;
    Ok(service.join().await?)
}

impl Desk {
    /// Lies ready for whoever asks.
    fn prepare(&self, news: &News) -> Option<Layout> {
        let layout = Layout::for_size(news.size).ok()?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if news.size != self.right.len() as u64 {
            return None;
        }
        if known.contains(&news.entity) {
            return Some(layout);
        }
        known.push(news.entity);
        let reader = Arc::new(InMemory(self.wrong.clone()));
        let vouching = Arc::clone(&self.vouching);
        let pieces = SwarmPieces::new(news.entity, layout, reader, vouching);
        let signed = match self.lie {
            Lie::WrongSigner => &self.wrong,
            Lie::WrongServer => &self.right,
        };
        for index in layout.indices() {
            let span = layout.span(index);
            let bytes = signed.slice(span.start as usize..span.end as usize);
            let piece = HashedPiece::new(layout, index, bytes).ok()?;
            pieces.offer_own(index, piece.value());
        }
        self.shelf.put(Arc::new(pieces));
        Some(layout)
    }
}

impl SwarmDesk for Desk {
    fn answer(&self, _: PeerId, message: &[u8]) -> Vec<u8> {
        let heard = decode_news(message).unwrap_or_default().into_iter();
        let answer = heard.filter_map(|news| {
            let pieces = self.prepare(&news)?.pieces();
            Some(News {
                kind: NewsKind::State,
                epoch: 1,
                got: std::iter::once(0..pieces).collect(),
                fetching: Vec::new(),
                limits: None,
                ..news
            })
        });
        encode_news(&answer.collect::<Vec<_>>())
    }
}

struct InMemory(Bytes);

impl Readable for InMemory {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = offset as usize;
        let bytes = self.0.get(start..start + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

struct Nothing;

impl Holdings for Nothing {
    fn have(&self, wanted: &[Wanted]) -> Vec<Option<Holding>> {
        vec![None; wanted.len()]
    }

    fn manifest(&self, _: &ContentId) -> Option<Manifest> {
        None
    }
}
