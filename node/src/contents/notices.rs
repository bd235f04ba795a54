//! What the cache found out about its files, as events.

use potluck_cache::{Damage, Notice};
use serde_json::{Value, json};

use super::Contents;

impl Contents {
    /// Records what the cache found out since this was last called.
    pub fn log_notices(&self) {
        for notice in self.cache.take_notices() {
            let (kind, fields) = event(&notice);
            self.events.record(kind, None, fields);
        }
    }
}

fn event(notice: &Notice) -> (&'static str, Value) {
    match notice {
        Notice::Damaged(Damage {
            id,
            file,
            reason,
            bad_pieces,
            kept,
        }) => (
            "content_damaged",
            json!({
                "content_id": id.to_string(),
                "file": file.display().to_string(),
                "reason": reason,
                "bad_pieces": bad_pieces.iter().map(|piece| piece.0).collect::<Vec<_>>(),
                "bytes_kept": kept,
            }),
        ),
        Notice::Unreadable { id, file, reason } => (
            "content_unreadable",
            json!({
                "content_id": id.to_string(),
                "file": file.display().to_string(),
                "reason": reason,
            }),
        ),
        Notice::IndexRebuilt { reason } => ("index_rebuilt", json!({ "reason": reason })),
    }
}
