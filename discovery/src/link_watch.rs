//! The task that follows the interfaces of this machine.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::link::{Link, links};
use crate::link_news::LinkNews;

/// How often the interfaces are looked at where the system does not say when they
/// change.
const INTERVAL: Duration = Duration::from_secs(5);
/// How often where it does: word of a change can get lost.
const INTERVAL_WITH_NEWS: Duration = Duration::from_secs(60);
/// Changes come in crowds: this long after the first of them the links are looked at.
const CROWD: Duration = Duration::from_millis(50);

/// Follows the links.
pub(crate) struct LinkWatch {
    links: watch::Sender<Arc<[Link]>>,
    news: Option<LinkNews>,
}

impl LinkWatch {
    /// Looks once, so that the first caller is judged rightly. Must be called on the
    /// runtime.
    pub(crate) fn new() -> io::Result<(Self, watch::Receiver<Arc<[Link]>>)> {
        // Listening begins before the look: no change is missed between the two.
        let news = LinkNews::open();
        if let Err(error) = &news {
            tracing::debug!(%error, "the system does not say when links change");
        }
        let (links, latest) = watch::channel(links()?.into());
        let news = news.ok();
        Ok((Self { links, news }, latest))
    }

    /// Runs until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let interval = match self.news {
                Some(_) => INTERVAL_WITH_NEWS,
                None => INTERVAL,
            };
            let changed = async {
                match &mut self.news {
                    Some(news) => news.changed().await,
                    None => std::future::pending().await,
                }
            };
            let lost = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = changed => changed.err(),
                () = tokio::time::sleep(interval) => None,
            };
            if let Some(error) = lost {
                tracing::warn!(%error, "the system no longer says when links change");
                self.news = None;
            }
            tokio::time::sleep(CROWD).await;
            if let Some(news) = &mut self.news {
                news.drain();
            }
            self.look();
        }
    }

    fn look(&self) {
        match links() {
            Ok(found) => {
                self.links.send_if_modified(|links| {
                    let differ = links[..] != found[..];
                    if differ {
                        *links = found.into();
                    }
                    differ
                });
            }
            Err(error) => tracing::warn!(%error, "the network interfaces cannot be listed"),
        }
    }
}
