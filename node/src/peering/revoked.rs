//! What this node makes of revocations: events, and its own end as a member.

use std::path::Path;
use std::sync::Arc;

use potluck_discovery::{
    Membership, PeerId, Revocation, RevocationList, Revocations, RevokedCheck,
};
use serde_json::json;
use tokio::sync::watch;

use crate::events::EventLog;
use crate::timestamp::rfc3339;

/// Follows the revocations of the domain that the node is in, if it is in one.
#[derive(Default)]
pub(super) struct Revoked {
    followed: Option<Followed>,
}

struct Followed {
    me: PeerId,
    list: watch::Receiver<Arc<RevocationList>>,
    recorded: Arc<RevocationList>,
}

impl Revoked {
    /// Follows these; says why not to take part if this node is among the revoked.
    pub(super) fn follow(&mut self, revocations: &Revocations, me: PeerId) -> Option<String> {
        let mut list = revocations.watch();
        let recorded = Arc::clone(&list.borrow_and_update());
        self.followed = Some(Followed { me, list, recorded });
        self.own()
    }

    /// Waits for the next change. Safe to cancel.
    pub(super) async fn changed(&mut self) {
        if let Some(followed) = &mut self.followed
            && followed.list.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    /// Puts those who were revoked since the last call into the event log.
    pub(super) fn record(&mut self, events: &EventLog) {
        let Some(followed) = &mut self.followed else {
            return;
        };
        let list = Arc::clone(&followed.list.borrow_and_update());
        let old = std::mem::replace(&mut followed.recorded, Arc::clone(&list));
        let new = list.entries.iter().filter(|(id, _)| !old.is_revoked(id));
        for (id, entry) in new {
            events.record(
                "node_revoked",
                None,
                json!({
                    "id": id.to_string(),
                    "name": entry.name.to_string(),
                    "reason": entry.reason,
                    "revoked_at": rfc3339(entry.revoked_at),
                    "this_node": *id == followed.me,
                }),
            );
        }
    }

    /// Why this node takes no part any more, if it was revoked.
    pub(super) fn own(&self) -> Option<String> {
        let followed = self.followed.as_ref()?;
        let list = followed.list.borrow();
        list.entries.get(&followed.me).map(own_revocation)
    }
}

/// Who gets no certificate any more: by what the node knows, and by its files before it
/// has begun to take part.
pub(super) fn revoked_check(
    data_dir: &Path,
    known: impl Fn() -> Option<Revocations> + Send + Sync + 'static,
) -> RevokedCheck {
    let data_dir = data_dir.to_owned();
    Arc::new(move |peer| match known() {
        Some(revocations) => revocations.is_revoked(peer),
        None => revoked_on_disk(&data_dir, peer),
    })
}

/// What cannot be read says nothing good.
fn revoked_on_disk(data_dir: &Path, peer: &PeerId) -> bool {
    let Ok(Some(membership)) = Membership::load(data_dir) else {
        return false;
    };
    Revocations::open(data_dir, &membership).map_or(true, |it| it.is_revoked(peer))
}

/// The revocation of this node in words, with the way back.
pub(crate) fn own_revocation(entry: &Revocation) -> String {
    let why = match entry.reason.as_str() {
        "" => String::new(),
        reason => format!(" ({reason})"),
    };
    format!(
        "this node was revoked at {}{why}: it takes from origins only; to join anew: potluck \
         domain leave, then potluck domain join with a new code",
        rfc3339(entry.revoked_at)
    )
}
