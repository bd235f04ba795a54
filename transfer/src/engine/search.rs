//! Finding out which peers hold a content, at the start of a transfer and while it lasts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use potluck_content::{ContentId, Manifest};
use potluck_discovery::{AskError, Holding, Wanted};
use potluck_plan::DiscoveryWindow;
use tokio::task::JoinSet;

use crate::engine::file_task::FileTask;
use crate::engine::request::Stage;
use crate::engine::wish::Wish;
use crate::engine::{Domain, Inner};
use crate::peer_client::PeerAddress;
use crate::rates::now;

/// How long a peer may take to answer; who is later than the window joins the plan.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest pause between two rounds of questions.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Holders that are asked for the manifest at once: one that is stuck must not keep the
/// others from giving it, and a manifest can be half a MiB.
const MANIFESTS_ASKED: usize = 2;

/// The question who holds a content.
///
/// A holder is of use once a manifest proves what it holds, which any holder may give.
/// Peers are asked again now and then, at ever longer intervals: some get the content
/// while the transfer lasts, and some are met only then.
pub(crate) struct Search {
    inner: Arc<Inner>,
    domain: Domain,
    wanted: Vec<Wanted>,
    expected: Expected,
    questions: JoinSet<Answer>,
    /// Questions for the manifest under way.
    manifests_asked: usize,
    /// Holders of a content that nothing proves yet, and whether they were asked for it.
    unproven: Vec<(PeerAddress, Holding, bool)>,
    proven: Option<ContentId>,
    /// How long the origin still waits for answers.
    pub(crate) window: DiscoveryWindow,
    again_at: Instant,
    pause: Duration,
}

/// What a peer answered.
enum Answer {
    Have(PeerAddress, Result<Vec<Option<Holding>>, AskError>),
    Manifest(PeerAddress, Result<Manifest, AskError>),
}

/// What came of an answer.
pub(crate) enum News {
    /// A content that somebody holds.
    Found(Found),
    /// One more peer that holds it.
    Holder(PeerAddress, Holding),
    /// Nothing of use.
    Nothing,
}

/// A content that somebody holds, with its proof.
pub(crate) struct Found {
    pub(crate) manifest: Manifest,
    /// Who answered so far.
    pub(crate) holders: Vec<(PeerAddress, Holding)>,
}

/// What a content must be to be the wanted one.
#[derive(Clone, Copy)]
struct Expected {
    content: Option<ContentId>,
    size: Option<u64>,
}

impl Search {
    /// Asks some peers.
    fn start(inner: Arc<Inner>, domain: Domain, wanted: Vec<Wanted>, expected: Expected) -> Self {
        let pause = inner.config().ask_again;
        let mut search = Self {
            inner,
            domain,
            wanted,
            expected,
            questions: JoinSet::new(),
            manifests_asked: 0,
            unproven: Vec::new(),
            proven: None,
            window: DiscoveryWindow::new(0, now()),
            again_at: now() + pause,
            pause,
        };
        search.ask(&[]);
        search.window = DiscoveryWindow::new(search.questions.len(), now());
        search
    }

    /// Waits for a holder and its manifest, until the window closes.
    async fn first(&mut self) -> Option<Found> {
        while let Some(closes) = self.window.poll_timeout() {
            tokio::select! {
                biased;
                news = self.next() => if let News::Found(found) = news {
                    return Some(found);
                },
                () = tokio::time::sleep_until(closes.into()) => {
                    self.window.handle_timeout(now());
                }
            }
        }
        None
    }

    /// Waits for the next answer; for ever when nobody is asked. Safe to cancel.
    pub(crate) async fn next(&mut self) -> News {
        match self.questions.join_next().await {
            Some(Ok(Answer::Have(peer, answer))) => self.on_have(peer, answer),
            Some(Ok(Answer::Manifest(peer, answer))) => self.on_manifest(peer, answer),
            // A question that broke down is a peer that stays silent.
            Some(Err(_)) => News::Nothing,
            None => std::future::pending().await,
        }
    }

    /// When peers are to be asked again, and the window closes.
    pub(crate) fn poll_timeout(&self) -> Instant {
        let closes = self.window.poll_timeout();
        closes.map_or(self.again_at, |closes| closes.min(self.again_at))
    }

    /// Time went by. Asks again if it is time to, but none of those that take part.
    pub(crate) fn handle_timeout(&mut self, taking_part: &[PeerAddress]) {
        self.window.handle_timeout(now());
        if now() >= self.again_at {
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            self.again_at = now() + self.pause;
            if self.questions.is_empty() {
                self.ask(taking_part);
            }
        }
    }

    fn ask(&mut self, taking_part: &[PeerAddress]) {
        if let Some(content) = self.proven {
            self.wanted = vec![Wanted::Content(content)];
        }
        let neighbours = &self.domain.neighbours;
        let mut peers = neighbours.peers();
        peers.retain(|peer| taking_part.iter().all(|known| known.id != peer.id));
        let peers = self.inner.some_of(peers);
        // Where some take part already, nobody else need be looked for on the network.
        if peers.is_empty() && taking_part.is_empty() {
            neighbours.need_peers();
        }
        for peer in peers {
            let asking = neighbours.ask_have(peer.id, self.wanted.clone(), ASK_TIMEOUT);
            self.questions
                .spawn(async move { Answer::Have(peer, asking.await) });
        }
    }

    fn on_have(
        &mut self,
        peer: PeerAddress,
        answer: Result<Vec<Option<Holding>>, AskError>,
    ) -> News {
        let holdings = answer
            .inspect_err(|error| tracing::debug!(peer = %peer.id, %error, "no answer"))
            .unwrap_or_default();
        let Some(holding) = holdings.into_iter().flatten().find(|h| self.fits(h)) else {
            self.window.handle_silence(now());
            return News::Nothing;
        };
        if self.proven.is_some() {
            self.window.handle_answer(holding.bitfield.is_none(), now());
            return News::Holder(peer, holding);
        }
        // Only a manifest shows whether it is of use; until then its answer is to come.
        self.unproven.push((peer, holding, false));
        self.ask_for_manifests();
        News::Nothing
    }

    fn on_manifest(&mut self, peer: PeerAddress, answer: Result<Manifest, AskError>) -> News {
        self.manifests_asked -= 1;
        let size = self.expected.size;
        let manifest = answer
            .inspect_err(|error| tracing::debug!(peer = %peer.id, %error, "no manifest"))
            .ok()
            .filter(|manifest| size.is_none_or(|size| size == manifest.size()));
        let (None, Some(manifest)) = (self.proven, manifest) else {
            self.window.handle_silence(now());
            self.unproven.retain(|(holder, ..)| *holder != peer);
            self.ask_for_manifests();
            return News::Nothing;
        };
        self.proven = Some(manifest.id());
        let holders: Vec<_> = std::mem::take(&mut self.unproven)
            .into_iter()
            .map(|(holder, holding, _)| (holder, holding))
            .filter(|(_, holding)| holding.content == manifest.id())
            .collect();
        let whole = holders
            .iter()
            .any(|(_, holding)| holding.bitfield.is_none());
        for _ in 1..holders.len() {
            self.window.handle_silence(now());
        }
        self.window.handle_answer(whole, now());
        News::Found(Found { manifest, holders })
    }

    fn ask_for_manifests(&mut self) {
        if self.proven.is_some() {
            return;
        }
        for (peer, holding, asked) in &mut self.unproven {
            if *asked || self.manifests_asked >= MANIFESTS_ASKED {
                continue;
            }
            *asked = true;
            self.manifests_asked += 1;
            let (peer, content) = (*peer, holding.content);
            let asking = self
                .domain
                .neighbours
                .manifest(peer.id, content, ASK_TIMEOUT);
            self.questions
                .spawn(async move { Answer::Manifest(peer, asking.await) });
        }
    }

    fn fits(&self, holding: &Holding) -> bool {
        let content = self.proven.or(self.expected.content);
        content.is_none_or(|content| content == holding.content)
            && self.expected.size.is_none_or(|size| size == holding.size)
    }
}

impl FileTask {
    /// Asks peers who holds it, as far as they may be asked.
    pub(super) async fn search(
        &self,
        wish: &Wish,
        domain: Option<&Domain>,
    ) -> (Option<Search>, Option<Found>) {
        let Some(domain) = domain else {
            return (None, None);
        };
        let mut wanted: Vec<_> = wish.digests.iter().copied().map(Wanted::Digest).collect();
        wanted.extend(
            wish.entity
                .as_ref()
                .map(|entity| Wanted::Entity(entity.key())),
        );
        if wanted.is_empty() {
            return (None, None);
        }
        let expected = Expected {
            content: wish.content(),
            size: wish.size(),
        };
        let inner = Arc::clone(&self.inner);
        let mut search = Search::start(inner, domain.clone(), wanted, expected);
        if search.window.is_open() {
            self.show(|progress| progress.stage = Stage::Searching);
        }
        let found = search.first().await;
        if found.is_none() {
            domain.neighbours.need_peers();
        }
        (Some(search), found)
    }
}

impl Inner {
    /// A random choice, so that no peer is asked by everybody.
    fn some_of(&self, mut peers: Vec<PeerAddress>) -> Vec<PeerAddress> {
        let most = self.config().max_asked;
        for place in 0..peers.len().min(most) {
            let left = (peers.len() - place) as u64;
            let other = usize::try_from(self.random() % left).unwrap_or(0);
            peers.swap(place, place + other);
        }
        peers.truncate(most);
        peers
    }
}
