//! Looking for the manifest beside a file, while the file is transferred.
//!
//! It comes from where the file comes from, so it is worth as much as a digest of the
//! origin's: pieces are checked against it, and the content that it proves is the file's.

use std::sync::Arc;

use http::Method;
use potluck_content::{ContentId, MAX_MANIFEST_FILE, Manifest, ManifestFile};
use potluck_plan::{JobKey, PeerKey, Priority};
use tokio::task::JoinSet;
use url::Url;

use crate::engine::fetch::OriginSource;
use crate::engine::file_task::FileTask;
use crate::engine::wish::Wish;
use crate::engine::{Domain, Inner, Share};
use crate::origin::{BesideError, manifest_by_name};

/// The manifest of one file, wanted or there. Dropping it ends the question.
#[derive(Default)]
pub(crate) struct Beside {
    asked: JoinSet<Option<Manifest>>,
    /// What a digest says that the content is.
    expected: Option<ContentId>,
    state: State,
    /// What peers proved before it came, and who of them: where it is stale they were right.
    rival: Option<(Manifest, Vec<PeerKey>)>,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// There is none, or it did not come yet.
    #[default]
    Absent,
    /// Pieces are checked against it.
    Vouches(ContentId),
    /// It is not of what the origin gives.
    Stale,
}

/// Where it is looked for.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    /// Where the origin says that it is.
    Named(Url),
    /// Where it is by convention, if there is one.
    ByName(Url),
}

impl Beside {
    /// Waits for it; for ever when none comes. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Manifest {
        match self.answer().await {
            Some(manifest) => manifest,
            None => std::future::pending().await,
        }
    }

    /// Waits for it, or until it is known that none comes. Safe to cancel.
    pub(crate) async fn answer(&mut self) -> Option<Manifest> {
        while let Some(answer) = self.asked.join_next().await {
            match answer {
                Ok(Some(manifest)) => return Some(manifest),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Ok(None) | Err(_) => {}
            }
        }
        None
    }

    /// The content that it proves, while nothing speaks against it.
    pub(crate) const fn vouches_for(&self) -> Option<ContentId> {
        match self.state {
            State::Vouches(content) => Some(content),
            State::Absent | State::Stale => None,
        }
    }

    /// Whether it turned out not to be of what the origin gives.
    pub(crate) fn is_stale(&self) -> bool {
        self.state == State::Stale
    }

    /// Whether it can be of a file of this size.
    pub(crate) fn fits(&self, manifest: &Manifest, size: u64) -> bool {
        manifest.size() == size && self.expected.is_none_or(|it| it == manifest.id())
    }

    pub(crate) fn set_rival(&mut self, manifest: Manifest, holders: Vec<PeerKey>) {
        self.rival = Some((manifest, holders));
    }

    pub(crate) fn take_rival(&mut self) -> Option<(Manifest, Vec<PeerKey>)> {
        self.rival.take()
    }

    pub(crate) fn set_vouching(&mut self, content: ContentId) {
        self.state = State::Vouches(content);
    }

    pub(crate) fn set_stale(&mut self) {
        self.state = State::Stale;
    }

    /// Something better speaks against it.
    pub(crate) fn forget(&mut self) {
        self.asked.abort_all();
        self.rival = None;
        if self.vouches_for().is_some() {
            self.state = State::Absent;
        }
    }
}

impl FileTask {
    /// Begins to look for the manifest where the origin says that it is.
    pub(super) fn look_where_named(&self, wish: &Wish) -> Beside {
        let mut beside = Beside {
            expected: wish.content(),
            ..Beside::default()
        };
        if self.may_look(wish)
            && let Some(named) = &wish.source.meta.manifest
        {
            self.look(&mut beside, wish, Place::Named(named.clone()));
        }
        beside
    }

    /// Begins to look for the manifest by its name, where the origin names none and nothing
    /// else proves pieces that peers could use meanwhile.
    pub(super) fn look_by_name(&self, beside: &mut Beside, wish: &Wish, domain: Option<&Domain>) {
        let meets_peers = domain.is_some_and(|domain| !domain.neighbours.peers().is_empty());
        let shares =
            self.inner.config().share == Share::Downloading || self.inner.swarms().is_some();
        let meta = &wish.source.meta;
        let is_one_piece = meta
            .size
            .is_none_or(|size| size <= potluck_content::MIN_PIECE_LEN);
        if !meets_peers || !shares || is_one_piece || !self.may_look(wish) {
            return;
        }
        if meta.manifest.is_none()
            && wish.content().is_none()
            && let Some(by_name) = manifest_by_name(wish.source.request.url())
        {
            self.look(beside, wish, Place::ByName(by_name));
        }
    }

    fn may_look(&self, wish: &Wish) -> bool {
        // What came did not add up before: this time the origin alone is believed.
        let begun_again = self.request.use_peers && wish.share && !wish.use_peers;
        let (method, size) = (wish.source.request.method(), wish.source.meta.size);
        *method == Method::GET && size.is_some() && wish.packing.is_none() && !begun_again
    }

    /// Nothing waits for it, or not for long.
    fn look(&self, beside: &mut Beside, wish: &Wish, place: Place) {
        let (inner, source) = (Arc::clone(&self.inner), Arc::clone(&wish.source));
        let limits = (self.request.job, self.request.priority);
        beside.asked.spawn(look(inner, source, place, limits));
    }
}

async fn look(
    inner: Arc<Inner>,
    source: Arc<OriginSource>,
    place: Place,
    limits: (JobKey, Priority),
) -> Option<Manifest> {
    match place {
        Place::Named(url) => {
            let read = read(&inner, &source, url, limits).await;
            read.inspect_err(|error| tracing::warn!(%error, "the manifest cannot be used"))
                .ok()
        }
        Place::ByName(url) => {
            let turn = inner.manifests.turn(&url).await?;
            match read(&inner, &source, url, limits).await {
                Ok(manifest) => {
                    turn.found();
                    Some(manifest)
                }
                Err(error) => {
                    tracing::debug!(%error, "no manifest beside the file");
                    turn.found_none();
                    None
                }
            }
        }
    }
}

async fn read(
    inner: &Inner,
    source: &OriginSource,
    url: Url,
    (job, priority): (JobKey, Priority),
) -> Result<Manifest, BesideError> {
    let name = url.to_string();
    let opened = source.client.beside(&source.request, &source.meta, url);
    let mut body = opened.await?;
    let mut bytes = Vec::new();
    while let Some(more) = body.next().await? {
        let len = more.len() as u64;
        inner.manifests.add_received(len);
        if bytes.len() + more.len() > MAX_MANIFEST_FILE {
            return Err(BesideError::TooLong(name));
        }
        bytes.extend_from_slice(&more);
        inner.rates.wait_to_download(job, priority, len).await;
    }
    let file = ManifestFile::from_bytes(&bytes);
    let file = file.map_err(|reason| BesideError::NotOne { url: name, reason })?;
    Ok(file.manifest().clone())
}
