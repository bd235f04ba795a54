//! A file of a job as it is kept.

use std::path::PathBuf;
use std::time::SystemTime;

use potluck_content::{ContentId, Digest, Entity, Validator};
use potluck_plan::{Accounting, Counted, FileRanges, JobError, OriginTrouble, SwarmCounts};
use serde::{Deserialize, Serialize};

use super::FileSwarm;
use crate::public_url::public_url;

/// One file of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFile {
    /// Where it comes from.
    pub url: String,
    /// Where it goes.
    pub path: PathBuf,
    /// Who chose that, where it is not the owner of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_of: Option<u32>,
    /// Header fields for the origin: names and values.
    pub headers: Vec<(String, String)>,
    /// Names of the header fields that are shown to nobody.
    #[serde(default)]
    pub secret_headers: Vec<String>,
    /// The parts that are wanted, put together; the whole where there are none.
    #[serde(default)]
    pub ranges: Option<FileRanges>,
    /// What the whole must have.
    pub checksum: Option<Digest>,
    /// Bytes in the whole, once known.
    pub size: Option<u64>,
    /// The origin's word for this version.
    pub validator: Option<Validator>,
    /// The content, once it is here.
    pub content: Option<ContentId>,
    /// The origin's time of the last change.
    pub mtime: Option<SystemTime>,
    /// The version under which peers may find it once the job is completed.
    pub entity: Option<Entity>,
    /// Whether peers may have it once the job is completed.
    pub shareable: bool,
    /// Where bytes came from.
    pub accounting: Accounting,
    /// What of that the counters of the node have.
    #[serde(default)]
    pub counted: Counted,
    /// How it was fetched together with others, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swarm: Option<Box<FileSwarm>>,
    /// The most bytes of it that were ever here; `None` before anything came.
    #[serde(default)]
    pub most_held: Option<u64>,
    /// Whether it stands where it goes.
    pub placed: bool,
    /// What is wrong with it.
    pub error: Option<JobError>,
    /// Whether peers are not asked: what came before was not what it should be.
    #[serde(default)]
    pub from_origin: bool,
    /// Where the origin sent us, if not to the URL.
    #[serde(default)]
    pub final_url: Option<String>,
    /// Whether its URL was named by another origin: secrets are not for this one.
    #[serde(default)]
    pub is_foreign: bool,
    /// Header fields of the origin's last answer.
    #[serde(default)]
    pub response_headers: Vec<(String, String)>,
    /// What makes its origin hard to fetch from, as far as it showed.
    #[serde(default)]
    pub troubles: Vec<OriginTrouble>,
    /// What the application says of what came, once it does.
    #[serde(default)]
    pub validated: Option<bool>,
}

impl JobFile {
    /// A file of which nothing is here yet.
    #[must_use]
    pub fn new(url: String, path: PathBuf) -> Self {
        Self {
            url,
            path,
            path_of: None,
            headers: Vec::new(),
            secret_headers: Vec::new(),
            ranges: None,
            checksum: None,
            size: None,
            validator: None,
            content: None,
            mtime: None,
            entity: None,
            shareable: false,
            accounting: Accounting::default(),
            counted: Counted::default(),
            swarm: None,
            most_held: None,
            placed: false,
            error: None,
            from_origin: false,
            troubles: Vec::new(),
            final_url: None,
            is_foreign: false,
            response_headers: Vec::new(),
            validated: None,
        }
    }

    /// Whether all of it is on this machine.
    #[must_use]
    pub const fn is_transferred(&self) -> bool {
        self.content.is_some()
    }

    /// Its URL without a password: for logs.
    #[must_use]
    pub fn public_url(&self) -> String {
        public_url(&self.url)
    }

    /// The version of the URL that is being transferred, where it is known.
    #[must_use]
    pub fn version(&self) -> Option<Entity> {
        let mut url = url::Url::parse(&self.url).ok()?;
        // Names of versions bear no passwords. Only URLs without a host refuse this.
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
        url.set_fragment(None);
        Some(Entity {
            url: url.into(),
            validator: self.validator.clone()?,
            size: self.size?,
        })
    }

    /// What the counters of the node do not have yet, and have from here on.
    pub fn take_uncounted(&mut self) -> Accounting {
        self.counted.take(&self.accounting)
    }

    /// The same of its swarm.
    pub fn take_uncounted_of_swarm(&mut self) -> SwarmCounts {
        let swarm = self.swarm.as_mut();
        swarm.map_or_else(SwarmCounts::default, |swarm| swarm.take_uncounted())
    }

    /// Notes how it is fetched together with others, earlier attempts included.
    pub fn set_swarm(&mut self, counts: SwarmCounts) {
        if !counts.is_nothing() {
            self.swarm.get_or_insert_default().counts = counts;
        }
    }

    /// How it was fetched together with others; `None` where it was not.
    #[must_use]
    pub fn swarm_counts(&self) -> Option<SwarmCounts> {
        self.swarm.as_ref().map(|swarm| swarm.counts)
    }

    /// Notes how many bytes of it are here. Says whether there were never so many: what
    /// was given up and comes again is no progress.
    pub fn hold(&mut self, bytes: u64) -> bool {
        let is_more = Some(bytes) > self.most_held;
        self.most_held = self.most_held.max(Some(bytes));
        is_more
    }

    /// Forgets what was transferred: it is no longer there. What came has come.
    pub fn reset(&mut self) {
        self.content = None;
        self.placed = false;
        self.validated = None;
        self.troubles.clear();
        self.accounting = self.accounting.wasted();
    }

    /// Forgets all that is known of what its URL gives: it is asked anew, and what came is
    /// discarded.
    pub fn begin_anew(&mut self) {
        self.reset();
        self.size = None;
        self.validator = None;
        self.mtime = None;
        self.entity = None;
        self.shareable = false;
        self.error = None;
        self.from_origin = false;
        self.final_url = None;
        self.response_headers.clear();
    }

    /// Makes where a redirect led its URL. Who it leads to another origin is not told
    /// what is secret.
    pub fn take_final_url(&mut self) {
        let Some(url) = &self.final_url else {
            return;
        };
        let origin = |text: &str| url::Url::parse(text).ok().map(|url| url.origin());
        self.is_foreign |= origin(url).is_none() || origin(url) != origin(&self.url);
        self.url.clone_from(url);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_to_another_origin_makes_a_file_foreign() {
        let redirected = |to: &str| {
            let mut file = JobFile::new("https://o/a".to_owned(), "/a".into());
            file.final_url = Some(to.to_owned());
            file.take_final_url();
            (file.url, file.is_foreign)
        };
        let (near, far) = ("https://o:443/b", "https://p/a");
        assert_eq!(redirected(near), (near.to_owned(), false));
        assert_eq!(redirected(far), (far.to_owned(), true));
        assert!(redirected("http://o/a").1);
    }
}
