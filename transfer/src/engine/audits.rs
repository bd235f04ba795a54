//! Checking a few pieces that members gave against the origin.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use potluck_content::{ChainingValue, HashedPiece, Layout};
use potluck_plan::AuditDice;
use tokio::task::JoinSet;

use crate::engine::fetch::OriginSource;
use crate::origin::OriginError;
use crate::swarm::SignedStatement;

/// The audits of one file. One at a time: they are few and must not crowd the origin.
pub(crate) struct Audits {
    dice: AuditDice,
    origin: Arc<OriginSource>,
    layout: Layout,
    due: VecDeque<SignedStatement>,
    running: JoinSet<Audited>,
}

/// What came of one audit: bytes that came, and the truth unless the origin failed.
pub(crate) struct Audited {
    pub(crate) signed: SignedStatement,
    pub(crate) bytes: u64,
    truth: Result<Option<ChainingValue>, OriginError>,
}

impl Audited {
    /// Whether the origin said what it has.
    pub(crate) const fn is_compared(&self) -> bool {
        matches!(self.truth, Ok(Some(_)))
    }

    /// What the origin has, where that is not what was signed.
    pub(crate) fn contradiction(&self) -> Option<ChainingValue> {
        match self.truth {
            Ok(Some(value)) if value != self.signed.statement.value => Some(value),
            Ok(_) | Err(_) => None,
        }
    }
}

impl Audits {
    pub(crate) fn new(dice: AuditDice, origin: Arc<OriginSource>, layout: Layout) -> Self {
        Self {
            dice,
            origin,
            layout,
            due: VecDeque::new(),
            running: JoinSet::new(),
        }
    }

    /// A member gave a piece; perhaps it is audited.
    pub(crate) fn consider(&mut self, signed: &SignedStatement, members: usize) {
        if self.dice.picks(signed.statement.index, members) {
            self.due.push_back(signed.clone());
            self.begin();
        }
    }

    /// Something better vouches for all pieces: those that are due are not looked at.
    pub(crate) fn drop_due(&mut self) {
        self.due.clear();
    }

    /// Whether nothing is left to be audited.
    pub(crate) fn are_done(&self) -> bool {
        self.due.is_empty() && self.running.is_empty()
    }

    /// Waits for the next; for ever while there is none. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Audited {
        loop {
            match self.running.join_next().await {
                Some(Ok(audited)) => {
                    self.begin();
                    return audited;
                }
                Some(Err(error)) => {
                    tracing::error!(%error, "an audit broke down");
                    self.begin();
                }
                None => std::future::pending().await,
            }
        }
    }

    fn begin(&mut self) {
        if !self.running.is_empty() {
            return;
        }
        if let Some(signed) = self.due.pop_front() {
            let (origin, layout) = (Arc::clone(&self.origin), self.layout);
            self.running.spawn(audit(origin, layout, signed));
        }
    }
}

async fn audit(origin: Arc<OriginSource>, layout: Layout, signed: SignedStatement) -> Audited {
    let index = signed.statement.index;
    let len = layout.len_of(index);
    let mut bytes = Vec::with_capacity(len);
    let fetched = async {
        let asked = (&origin.request, &origin.meta, Some(layout.span(index)));
        let mut body = origin.client.get(asked.0, asked.1, asked.2).await?;
        while let Some(more) = body.next().await? {
            let room = len.saturating_sub(bytes.len());
            bytes.extend_from_slice(&more[..more.len().min(room)]);
        }
        Ok::<(), OriginError>(())
    };
    let fetched = fetched.await;
    let came = bytes.len() as u64;
    let truth = match fetched {
        Ok(()) => {
            let hash = move || HashedPiece::new(layout, index, Bytes::from(bytes)).ok();
            let hashed = tokio::task::spawn_blocking(hash).await.ok().flatten();
            Ok(hashed.map(|piece| piece.value()))
        }
        Err(error) => {
            tracing::debug!(%error, %index, "not audited");
            Err(error)
        }
    };
    Audited {
        signed,
        bytes: came,
        truth,
    }
}
