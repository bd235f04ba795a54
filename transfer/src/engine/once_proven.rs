//! Taking part in a swarm where only what is validated is given: once a manifest proves
//! each piece, and no longer than it does.

use std::sync::Arc;
use std::time::Duration;

use potluck_content::{ContentId, EntityKey};
use potluck_plan::{AuditDice, Source};

use crate::engine::audits::Audits;
use crate::engine::file_run::{FileRun, Giver};
use crate::engine::file_task::FileTask;
use crate::engine::piece_store::StoredPiece;
use crate::engine::request::TransferError;
use crate::engine::share::Share;
use crate::engine::swarms::Swarms;
use crate::engine::together::Place;
use crate::engine::wish::Wish;
use crate::rates::now;

/// A swarm to take part in as soon as the pieces are proven.
pub(crate) struct OnceProven {
    swarms: Swarms,
    entity: EntityKey,
    /// With which manifest this was tried: another transfer may have the place.
    tried: Option<ContentId>,
}

/// How a file is fetched together with others.
pub(crate) enum Part {
    /// Not at all.
    None,
    /// From the first byte.
    Now(Place),
    /// Once each piece is proven.
    Once(OnceProven),
}

impl Part {
    /// The swarms whose word counts.
    pub(crate) fn swarms(&self) -> Option<Swarms> {
        match self {
            Self::None => None,
            Self::Now(place) => Some(place.swarms.clone()),
            Self::Once(once) => Some(once.swarms.clone()),
        }
    }
}

impl FileTask {
    /// The part in the swarm of what is wanted that the setting of what is given allows.
    pub(super) fn part_in_swarm(&self, wish: &Wish) -> Part {
        let entity = wish.entity.as_ref().filter(|_| wish.use_peers);
        let swarms = self.inner.swarms().filter(|_| wish.packing.is_none());
        let (Some(entity), Some(swarms), Some(size)) = (entity, swarms, wish.size()) else {
            return Part::None;
        };
        let entity = entity.key();
        match self.inner.config().share {
            Share::Downloading => Place::take(swarms, entity, size).map_or(Part::None, Part::Now),
            Share::Validated => Part::Once(OnceProven {
                swarms,
                entity,
                tried: None,
            }),
        }
    }
}

impl FileRun {
    /// Waits for the manifest beside the file, and for the members to answer, neither for
    /// long: what is asked of the origin before that, others ask as well.
    pub(super) async fn settle_once_proven(&mut self, most: Duration) -> Result<(), TransferError> {
        if self.once_proven.is_none() {
            return Ok(());
        }
        let until = now() + most;
        let is_held = self.content.is_some();
        if !is_held
            && let Ok(Some(manifest)) =
                tokio::time::timeout_at(until.into(), self.beside.answer()).await
        {
            self.adopt_beside(manifest)?;
        }
        self.look_at_proof()?;
        // Who holds the whole gives it, whatever the others say.
        if let (Some(together), false) = (&self.together, is_held) {
            let settled = together.membership.settled();
            // Who answers later takes part then.
            let _ = tokio::time::timeout_at(until.into(), settled).await;
        }
        while let Some((peer, heard)) = self.try_heard() {
            self.on_heard(peer, heard);
        }
        Ok(())
    }

    /// Takes part when the pieces are proven, and leaves when they are not any more.
    pub(super) fn look_at_proof(&mut self) -> Result<(), TransferError> {
        let Some(once) = &mut self.once_proven else {
            return Ok(());
        };
        match (self.content, &self.together) {
            (Some(content), None) if once.tried != Some(content) => {
                once.tried = Some(content);
                let (swarms, entity) = (once.swarms.clone(), once.entity);
                match Place::take(swarms, entity, self.store.layout.size()) {
                    Some(place) => self.take_part(place),
                    None => Ok(()),
                }
            }
            (None, Some(_)) => self.leave_swarm(),
            _ => Ok(()),
        }
    }

    /// Whether a piece may be given: under some settings only what the manifest proves.
    pub(super) fn may_give(&self, stored: &StoredPiece) -> bool {
        if self.once_proven.is_none() {
            return true;
        }
        let manifest = self.store.manifest();
        let proven = manifest.as_ref().and_then(|manifest| {
            let values = manifest.values();
            values.get(stored.index.0 as usize)
        });
        proven == Some(&stored.value)
    }

    fn take_part(&mut self, place: Place) -> Result<(), TransferError> {
        let layout = self.store.layout;
        // The manifest says what the origin would.
        let audits = Audits::new(AuditDice::new(0.0, 0), Arc::clone(&self.origin), layout);
        self.together = Some(place.open(&self.store, audits)?);
        self.join_swarm();
        let (Some(manifest), Some(together)) = (self.store.manifest(), &self.together) else {
            return Ok(());
        };
        for index in self.plan.pieces_from(Source::Origin) {
            if let Some(value) = manifest.values().get(index.0 as usize) {
                together.offer_own(index, *value);
            }
        }
        Ok(())
    }

    /// Nothing proves the pieces any more: none is given, and those that others gave are
    /// fetched again.
    fn leave_swarm(&mut self) -> Result<(), TransferError> {
        self.together = None;
        self.leave_givers(|giver| matches!(giver, Giver::Member(_)))?;
        Ok(())
    }
}
