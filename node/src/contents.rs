//! What an administrator does with the cache: for the control API, and for the command
//! line where no daemon runs. Everything here blocks.

mod document;
mod error;
mod naming;
mod notices;
mod query;

use std::path::Path;

use potluck_cache::{Cache, CacheError, Checked, Facts};
use potluck_content::ContentId;
use serde_json::json;

pub use document::{
    CacheDocument, ClearedDocument, ContentDocument, Found, InvalidatedDocument, PartialDocument,
    VerifiedDocument,
};
pub use error::ContentsError;
pub use query::{MAX_PAGE, PageQuery};

use crate::events::EventLog;

/// The cache and the log of what is done to it. Cheap to clone.
///
/// A content is named by its id, by the beginning of it, by another digest of it or by
/// a URL that it has.
#[derive(Clone)]
pub struct Contents {
    cache: Cache,
    events: EventLog,
}

impl Contents {
    /// The contents of a cache; what happens to them is recorded.
    #[must_use]
    pub const fn new(cache: Cache, events: EventLog) -> Self {
        Self { cache, events }
    }

    /// The cache as a whole.
    ///
    /// # Errors
    /// When its directories cannot be read.
    pub fn overview(&self) -> Result<CacheDocument, ContentsError> {
        let partials = self.cache.partials()?;
        let aside = self.cache.set_aside()?;
        Ok(CacheDocument::of(&self.cache, &partials, aside))
    }

    /// The contents that a query wants, as many as it wants at once.
    ///
    /// # Errors
    /// When the query makes no sense.
    pub fn page(&self, query: &PageQuery) -> Result<Vec<ContentDocument>, ContentsError> {
        let (filter, after, limit) = query.read()?;
        let page = self.cache.page(&filter, after.as_ref(), limit);
        Ok(page.iter().map(ContentDocument::from).collect())
    }

    /// The unfinished contents.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn partials(&self) -> Result<Vec<PartialDocument>, ContentsError> {
        let partials = self.cache.partials()?;
        Ok(partials.iter().map(PartialDocument::from).collect())
    }

    /// Everything about one content.
    ///
    /// # Errors
    /// When the name is of none, or of more than one.
    pub fn show(&self, name: &str) -> Result<ContentDocument, ContentsError> {
        self.document(&self.find(name)?)
    }

    /// Adds a file of this machine.
    ///
    /// # Errors
    /// When the file cannot be read or there is no room for it.
    pub fn add(&self, path: &Path, pin: bool) -> Result<ContentDocument, ContentsError> {
        // Pinned in one step: between two it could go.
        let facts = Facts {
            pinned: pin,
            ..Facts::default()
        };
        let record = self.cache.add_file_with(path, &facts, |_| {})?;
        let fields = json!({
            "content_id": record.id.to_string(),
            "size": record.size,
            "path": path.display().to_string(),
        });
        self.events.record("content_added", None, fields);
        if pin {
            self.record("content_pinned", &record.id);
        }
        Ok(ContentDocument::from(&record))
    }

    /// Keeps a content whatever the limits say, or no longer.
    ///
    /// # Errors
    /// When the name is of none, or of more than one, or the disk fails.
    pub fn pin(&self, name: &str, pinned: bool) -> Result<ContentDocument, ContentsError> {
        self.set_pinned(&self.find(name)?, pinned)
    }

    /// Vouches for a content: from now on peers may have it.
    ///
    /// # Errors
    /// When the name is of none, or of more than one, or the disk fails.
    pub fn validate(&self, name: &str) -> Result<ContentDocument, ContentsError> {
        let id = self.find(name)?;
        self.cache.set_validated(&id, true)?;
        self.record("content_validated", &id);
        self.document(&id)
    }

    /// Removes a content that was found not to be what it should: nobody gets it any more.
    ///
    /// # Errors
    /// When the name is of none, or of more than one, or the disk fails.
    pub fn invalidate(&self, name: &str) -> Result<ContentId, ContentsError> {
        self.take_out(name, "content_invalidated")
    }

    /// Reads a content and compares it with what it was.
    ///
    /// # Errors
    /// When the name is of none, or of more than one.
    pub fn verify(&self, name: &str) -> Result<VerifiedDocument, ContentsError> {
        self.verify_id(self.find(name)?)
    }

    /// Does the same with the content that comes after one in the order of the ids, or
    /// the first; `None` at the end.
    ///
    /// # Errors
    /// When that is no id.
    pub fn verify_next(
        &self,
        after: Option<&str>,
    ) -> Result<Option<VerifiedDocument>, ContentsError> {
        let mut after = after.map(id_of).transpose()?;
        while let Some(id) = self.cache.next_after(after.as_ref()) {
            match self.verify_id(id) {
                // It went meanwhile.
                Err(ContentsError::NotHeld(_)) => after = Some(id),
                verified => return verified.map(Some),
            }
        }
        Ok(None)
    }

    fn verify_id(&self, id: ContentId) -> Result<VerifiedDocument, ContentsError> {
        let size = self.cache.held(&id).map_or(0, |held| held.size);
        let checked = self.cache.check(&id, |_| {});
        self.log_notices();
        match checked {
            Ok(Checked::Good) => Ok(VerifiedDocument::good(&id, size)),
            Ok(Checked::Damaged(damage)) => Ok(VerifiedDocument::damaged(&damage, size)),
            Err(error @ CacheError::NotHeld(_)) => Err(error.into()),
            Err(error) => Ok(VerifiedDocument::unreadable(&id, size, error.to_string())),
        }
    }

    /// Removes a content, pinned or not.
    ///
    /// # Errors
    /// When the name is of none, or of more than one, or the disk fails.
    pub fn remove(&self, name: &str) -> Result<ContentId, ContentsError> {
        self.take_out(name, "content_removed")
    }

    /// Removes everything that is not in use, with `pinned` pinned contents too.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn clear(&self, pinned: bool) -> Result<ClearedDocument, ContentsError> {
        let cleared = self.cache.clear(pinned)?;
        let usage = self.cache.usage();
        let document = ClearedDocument {
            contents: cleared.contents,
            bytes: cleared.bytes,
            contents_left: usage.contents + usage.pinned,
            bytes_left: usage.bytes + usage.pinned_bytes,
        };
        let fields = json!({ "contents": document.contents, "bytes": document.bytes });
        self.events.record("cache_cleared", None, fields);
        Ok(document)
    }

    /// Makes the index again from the files.
    ///
    /// # Errors
    /// When the directories cannot be read.
    pub fn rebuild(&self) -> Result<CacheDocument, ContentsError> {
        self.cache.rebuild_index()?;
        let document = self.overview()?;
        let fields = json!({ "reason": "it was asked for", "contents": document.contents });
        self.events.record("index_rebuilt", None, fields);
        self.log_notices();
        Ok(document)
    }

    fn document(&self, id: &ContentId) -> Result<ContentDocument, ContentsError> {
        let record = self.cache.show(id);
        // What turned out to be damaged just now was taken out and is told.
        self.log_notices();
        let record = record.ok_or_else(|| ContentsError::NotHeld(id.to_string()))?;
        Ok(ContentDocument::from(&record))
    }

    fn set_pinned(&self, id: &ContentId, pinned: bool) -> Result<ContentDocument, ContentsError> {
        self.cache.set_pinned(id, pinned)?;
        let kind = if pinned {
            "content_pinned"
        } else {
            "content_unpinned"
        };
        self.record(kind, id);
        self.document(id)
    }

    fn take_out(&self, name: &str, kind: &str) -> Result<ContentId, ContentsError> {
        let id = self.find(name)?;
        if !self.cache.remove(&id)? {
            return Err(ContentsError::NotHeld(id.to_string()));
        }
        self.record(kind, &id);
        Ok(id)
    }

    fn record(&self, kind: &str, id: &ContentId) {
        let fields = json!({ "content_id": id.to_string() });
        self.events.record(kind, None, fields);
    }
}

fn id_of(text: &str) -> Result<ContentId, ContentsError> {
    text.parse().map_err(|error: potluck_content::IdError| {
        ContentsError::Invalid(format!("after: {error}"))
    })
}
