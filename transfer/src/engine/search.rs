//! Finding out which peers hold a content.

use std::sync::Arc;
use std::time::Duration;

use potluck_content::{ContentId, Manifest};
use potluck_discovery::{AskError, Holding, Wanted};
use potluck_plan::DiscoveryWindow;
use tokio::task::JoinSet;

use crate::engine::Domain;
use crate::engine::file_task::FileTask;
use crate::engine::neighbours::Neighbours;
use crate::engine::request::Stage;
use crate::engine::wish::Wish;
use crate::peer_client::PeerAddress;
use crate::rates::now;

/// How long a peer may take to answer; who is later than the window joins the plan.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// The question to some peers who holds a content, under way.
pub(crate) struct Search {
    neighbours: Arc<dyn Neighbours>,
    answers: JoinSet<Answered>,
    pub(crate) window: DiscoveryWindow,
}

type Answered = (PeerAddress, Result<Vec<Option<Holding>>, AskError>);

/// A content that somebody holds, with its proof.
pub(crate) struct Found {
    pub(crate) manifest: Manifest,
    /// Who answered so far, the one who gave the manifest first.
    pub(crate) holders: Vec<(PeerAddress, Holding)>,
}

/// What a content must be to be the wanted one.
#[derive(Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) content: Option<ContentId>,
    pub(crate) size: Option<u64>,
}

impl Search {
    /// Asks these peers.
    pub(crate) fn start(
        neighbours: Arc<dyn Neighbours>,
        peers: &[PeerAddress],
        wanted: &[Wanted],
    ) -> Self {
        let mut answers = JoinSet::new();
        for peer in peers.iter().copied() {
            let asking = neighbours.ask_have(peer.id, wanted.to_vec(), ASK_TIMEOUT);
            answers.spawn(async move { (peer, asking.await) });
        }
        let window = DiscoveryWindow::new(peers.len(), now());
        Self {
            neighbours,
            answers,
            window,
        }
    }

    /// Waits for a holder of what is expected and its manifest, until the window closes.
    pub(crate) async fn first(&mut self, expected: Expected) -> Option<Found> {
        let mut holders = Vec::new();
        while let Some((peer, holding)) = self.next_holder(expected).await {
            let (content, whole) = (holding.content, holding.bitfield.is_none());
            holders.push((peer, holding));
            let answer = self
                .neighbours
                .manifest(peer.id, content, ASK_TIMEOUT)
                .await;
            match answer {
                Ok(manifest) if expected.size.is_none_or(|size| size == manifest.size()) => {
                    if whole {
                        self.window.handle_answer(true, now());
                    }
                    holders.reverse();
                    return Some(Found { manifest, holders });
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(peer = %peer.id, %error, "no manifest"),
            }
        }
        None
    }

    /// The next peer that holds what is expected; `None` when the window has closed.
    async fn next_holder(&mut self, expected: Expected) -> Option<(PeerAddress, Holding)> {
        loop {
            let closes = self.window.poll_timeout()?;
            tokio::select! {
                biased;
                answered = self.answers.join_next() => {
                    let holding = answered.and_then(|answered| judge(answered, expected));
                    // Only a manifest shows whether a holder is of use, so the window
                    // stays open for the others until then.
                    self.window.handle_silence(now());
                    if holding.is_some() {
                        return holding;
                    }
                }
                () = tokio::time::sleep_until(closes.into()) => {
                    self.window.handle_timeout(now());
                }
            }
        }
    }

    /// The next answer of all, also after the window; `None` when everybody answered.
    pub(crate) async fn next_answer(
        &mut self,
        expected: Expected,
    ) -> Option<Option<(PeerAddress, Holding)>> {
        let answered = self.answers.join_next().await?;
        let holding = judge(answered, expected);
        let whole = holding
            .as_ref()
            .is_some_and(|(_, holding)| holding.bitfield.is_none());
        self.window.handle_answer(whole, now());
        Some(holding)
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
        let peers = self.some_peers(domain.neighbours.peers());
        if peers.is_empty() {
            domain.neighbours.need_peers();
        }
        if wanted.is_empty() || peers.is_empty() {
            return (None, None);
        }
        self.show(|progress| progress.stage = Stage::Searching);
        let expected = Expected {
            content: wish.content(),
            size: wish.source.meta.size,
        };
        let mut search = Search::start(Arc::clone(&domain.neighbours), &peers, &wanted);
        let found = search.first(expected).await;
        if found.is_none() {
            domain.neighbours.need_peers();
        }
        // Without a manifest, late answers are of no use.
        let search = found.is_some().then_some(search);
        (search, found)
    }

    /// A random choice, so that no peer is asked by everybody.
    fn some_peers(&self, mut peers: Vec<PeerAddress>) -> Vec<PeerAddress> {
        let most = self.inner.config().max_asked;
        for place in 0..peers.len().min(most) {
            let left = (peers.len() - place) as u64;
            let other = usize::try_from(self.inner.random() % left).unwrap_or(0);
            peers.swap(place, place + other);
        }
        peers.truncate(most);
        peers
    }
}

fn judge(
    answered: Result<Answered, tokio::task::JoinError>,
    expected: Expected,
) -> Option<(PeerAddress, Holding)> {
    let (peer, answer) = answered.ok()?;
    let holdings = answer
        .inspect_err(|error| tracing::debug!(peer = %peer.id, %error, "no answer"))
        .ok()?;
    let fits = |holding: &Holding| {
        expected
            .content
            .is_none_or(|content| content == holding.content)
            && expected.size.is_none_or(|size| size == holding.size)
    };
    holdings
        .into_iter()
        .flatten()
        .find(fits)
        .map(|holding| (peer, holding))
}
