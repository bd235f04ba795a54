//! Which sites have manifests beside their files.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OwnedMutexGuard;
use url::Url;

use crate::rates::now;

/// How long it is remembered whether there is one. Who publishes manifests only now waits no
/// longer than this.
const REMEMBERED: Duration = Duration::from_secs(5 * 60);

/// Sites that are remembered. Forgetting one costs a request.
const MOST_SITES: usize = 1024;

/// A directory of an origin.
type Site = Arc<tokio::sync::Mutex<Known>>;

/// Remembers, so that a site without manifests is asked once and not for each file.
#[derive(Default)]
pub(crate) struct ManifestSites {
    sites: Mutex<HashMap<String, Site>>,
    received: AtomicU64,
}

/// What is known of a site.
#[derive(Clone, Copy, Default)]
enum Known {
    /// Nothing.
    #[default]
    Nothing,
    /// It gave one.
    Has(Instant),
    /// It was asked and gave none.
    HasNone(Instant),
}

/// The right to ask a site, which then says what came of it. Whoever is the first is alone:
/// others wait for what it finds.
pub(crate) struct Turn(Option<OwnedMutexGuard<Known>>);

impl ManifestSites {
    /// Waits for the right to ask for a manifest. `None` where there is none.
    pub(crate) async fn turn(&self, manifest: &Url) -> Option<Turn> {
        let mut known = self.site(manifest).lock_owned().await;
        match *known {
            Known::Has(since) if is_fresh(since) => Some(Turn(None)),
            Known::HasNone(since) if is_fresh(since) => None,
            _ => {
                *known = Known::Nothing;
                Some(Turn(Some(known)))
            }
        }
    }

    /// Counts bytes of manifests, and of what came for them.
    pub(crate) fn add_received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// All bytes that came so.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    fn site(&self, manifest: &Url) -> Site {
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        let name = directory(manifest);
        if sites.len() >= MOST_SITES && !sites.contains_key(&name) {
            // Those that somebody waits for stay.
            sites.retain(|_, site| Arc::strong_count(site) > 1);
        }
        Arc::clone(sites.entry(name).or_default())
    }
}

impl Turn {
    /// There was one: all files of the site are asked for.
    pub(crate) fn found(self) {
        if let Some(mut known) = self.0 {
            *known = Known::Has(now());
        }
    }

    /// There was none.
    pub(crate) fn found_none(self) {
        if let Some(mut known) = self.0 {
            *known = Known::HasNone(now());
        }
    }
}

fn is_fresh(since: Instant) -> bool {
    now().saturating_duration_since(since) < REMEMBERED
}

/// Everything of a URL but the name of the file.
fn directory(url: &Url) -> String {
    let path = url.path();
    let end = path.rfind('/').map_or(0, |at| at + 1);
    format!("{}{}", url.origin().ascii_serialization(), &path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_site_without_is_asked_once_in_a_while() {
        let sites = ManifestSites::default();
        let first = sites.turn(&url("http://o/a/1.potluck")).await.unwrap();
        let later = url("http://o/a/2.potluck");
        let second = sites.turn(&later);
        let mut second = std::pin::pin!(second);
        tokio::select! {
            biased;
            _ = &mut second => panic!("it does not wait for the first"),
            () = tokio::task::yield_now() => {}
        }
        // Other directories, and other hosts, are other sites.
        for other in ["http://o/b/1", "http://o:81/a/1", "https://o/a/1"] {
            assert!(sites.turn(&url(other)).await.is_some(), "{other}");
        }
        first.found_none();
        assert!(second.await.is_none());
        assert!(sites.turn(&url("http://o/a/3.potluck")).await.is_none());
        tokio::time::advance(REMEMBERED).await;
        assert!(sites.turn(&url("http://o/a/3.potluck")).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_site_that_has_them_is_asked_for_each() {
        let sites = ManifestSites::default();
        sites.turn(&url("http://o/1")).await.unwrap().found();
        let one = sites.turn(&url("http://o/2")).await.unwrap();
        let other = sites.turn(&url("http://o/3")).await.unwrap();
        // That one file has none says nothing of the others.
        one.found_none();
        other.found();
        assert!(sites.turn(&url("http://o/4")).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_leaves_it_to_the_next() {
        let sites = ManifestSites::default();
        drop(sites.turn(&url("http://o/1")).await.unwrap());
        assert!(sites.turn(&url("http://o/1")).await.is_some());
    }

    #[tokio::test]
    async fn what_is_remembered_is_bounded() {
        let sites = ManifestSites::default();
        let held = sites.turn(&url("http://held/")).await.unwrap();
        for site in 0..3 * MOST_SITES {
            let site = url(&format!("http://o/{site}/"));
            sites.turn(&site).await.unwrap().found_none();
        }
        assert!(sites.sites.lock().unwrap().len() <= MOST_SITES);
        held.found_none();
        assert!(sites.turn(&url("http://held/")).await.is_none());
    }
}
