//! Checking a few pieces that members gave against the origin.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use potluck_content::{ChainingValue, HashedPiece, Layout, PieceIndex};
use potluck_plan::AuditDice;
use tokio::task::JoinSet;

use crate::engine::fetch::OriginSource;
use crate::origin::OriginError;
use crate::swarm::SignedStatement;

/// How long an audit may take, so that a file never waits for an origin that trickles.
const LONGEST: Duration = Duration::from_secs(30);

/// The audits of one file. One at a time: they are few and must not crowd the origin.
pub(crate) struct Audits {
    dice: AuditDice,
    origin: Arc<OriginSource>,
    layout: Layout,
    /// What was signed, and whether something else lies on the disk.
    due: VecDeque<(SignedStatement, bool)>,
    running: JoinSet<Audited>,
}

/// What came of one audit.
pub(crate) struct Audited {
    pub(crate) signed: SignedStatement,
    /// Whether something else lay on the disk.
    pub(crate) disputed: bool,
    /// How many bytes came.
    pub(crate) bytes: u64,
    /// What the origin has, unless it failed, or said one thing and then another.
    truth: Option<ChainingValue>,
}

impl Audited {
    /// Whether the origin said what it has.
    pub(crate) const fn is_compared(&self) -> bool {
        self.truth.is_some()
    }

    /// What the origin has, where that is not what was signed.
    pub(crate) fn contradiction(&self) -> Option<ChainingValue> {
        self.truth
            .filter(|value| *value != self.signed.statement.value)
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
            self.due.push_back((signed.clone(), false));
            self.begin();
        }
    }

    /// There is reason to doubt what was signed: it is audited whatever the dice say.
    pub(crate) fn suspect(&mut self, signed: SignedStatement, disputed: bool) {
        let known = |(due, _): &(SignedStatement, bool)| {
            due.statement == signed.statement && due.signer.id == signed.signer.id
        };
        if !self.due.iter().any(known) {
            self.due.push_front((signed, disputed));
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
        if let Some((signed, disputed)) = self.due.pop_front() {
            let (origin, layout) = (Arc::clone(&self.origin), self.layout);
            self.running.spawn(async move {
                let (mut bytes, mut truth) = (0, None);
                let looking = look(&origin, layout, &signed, &mut bytes, &mut truth);
                if tokio::time::timeout(LONGEST, looking).await.is_err() {
                    tracing::debug!(index = %signed.statement.index, "the audit took too long");
                }
                Audited {
                    signed,
                    disputed,
                    bytes,
                    truth,
                }
            });
        }
    }
}

/// Compares a piece with the origin. Where that has something else it is asked once more:
/// one that changes its bytes without a word must not make a liar of who told the truth.
async fn look(
    origin: &OriginSource,
    layout: Layout,
    signed: &SignedStatement,
    bytes: &mut u64,
    truth: &mut Option<ChainingValue>,
) {
    let (index, said) = (signed.statement.index, signed.statement.value);
    let first = fetch(origin, layout, index, bytes).await;
    *truth = match first {
        Some(value) if value != said => {
            let second = fetch(origin, layout, index, bytes).await;
            if second.is_some() && second != first {
                tracing::warn!(url = %origin.meta.url, %index, "the origin says one thing and then another");
            }
            first.filter(|_| second == first)
        }
        _ => first,
    };
}

/// What the origin has of a piece; `None` when it failed.
async fn fetch(
    origin: &OriginSource,
    layout: Layout,
    index: PieceIndex,
    came: &mut u64,
) -> Option<ChainingValue> {
    let len = layout.len_of(index);
    let mut bytes = Vec::with_capacity(len);
    let fetched = async {
        let asked = (&origin.request, &origin.meta, Some(layout.span(index)));
        let mut body = origin.client.get(asked.0, asked.1, asked.2).await?;
        while let Some(more) = body.next().await? {
            let room = len.saturating_sub(bytes.len());
            bytes.extend_from_slice(&more[..more.len().min(room)]);
            *came += more.len().min(room) as u64;
        }
        Ok::<(), OriginError>(())
    };
    if let Err(error) = fetched.await {
        tracing::debug!(%error, %index, "not audited");
        return None;
    }
    let hash = move || HashedPiece::new(layout, index, Bytes::from(bytes)).ok();
    let hashed = tokio::task::spawn_blocking(hash).await.ok().flatten();
    hashed.map(|piece| piece.value())
}
