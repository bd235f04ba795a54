//! A file of known size: from peers and the origin, piece by piece.

use std::collections::BTreeMap;
use std::sync::Arc;

use potluck_cache::Partial;
use potluck_content::{Bitfield, Digest, Layout};
use potluck_plan::{
    Accounting, AuditDice, DiscoveryWindow, FilePlan, FilePlanConfig, OriginTrouble, OriginUse,
    Rate, Source, SwarmCounts,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::engine::audits::Audits;
use crate::engine::file_run::FileRun;
use crate::engine::file_task::{Attempt, FileTask, blocking};
use crate::engine::key_locks::KeyGuard;
use crate::engine::once_proven::Part;
use crate::engine::piece_store::PieceStore;
use crate::engine::request::{Stage, TransferError};
use crate::engine::whole_check::mismatches;
use crate::engine::wish::{Wish, mismatch};
use crate::origin::RangeSupport;
use crate::rates::now;

/// Makes what came durable when a transfer ends before its time, and only then lets
/// the next one have the content.
struct SaveOnDrop(Option<(Arc<PieceStore>, KeyGuard)>);

impl SaveOnDrop {
    fn release(mut self) -> Option<(Arc<PieceStore>, KeyGuard)> {
        self.0.take()
    }
}

impl Drop for SaveOnDrop {
    fn drop(&mut self) {
        let Some((store, guard)) = self.0.take() else {
            return;
        };
        let save = move || {
            if let Err(error) = store.partial.checkpoint() {
                tracing::warn!(%error, "unfinished content not made durable");
            }
            drop(store);
            drop(guard);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(save)),
            Err(_) => save(),
        }
    }
}

impl FileTask {
    /// Fetches the pieces. `None` when nobody says how many there are.
    pub(crate) async fn by_pieces(
        &self,
        wish: &Wish,
        guard: KeyGuard,
    ) -> Result<Option<Attempt>, TransferError> {
        let domain = self.inner.domain().filter(|_| wish.use_peers);
        let part = self.part_in_swarm(wish);
        let asked_at = now();
        let mut beside = self.look_where_named(wish);
        let (search, found) = self.search(wish, domain.as_ref()).await;
        let manifest = found.as_ref().map(|found| found.manifest.clone());
        if manifest.is_none() {
            self.look_by_name(&mut beside, wish, domain.as_ref());
        }
        let named = wish.size();
        let Some(size) = named.or(manifest.as_ref().map(|manifest| manifest.size())) else {
            return Ok(None);
        };
        let layout = Layout::for_size(size).map_err(potluck_cache::CacheError::from)?;
        let partial = self.open(wish, Some(size)).await?;
        if let Some(manifest) = &manifest {
            // Of an earlier attempt, and not what the domain holds by this name: to be
            // fetched again. Should the origin say otherwise, the domain was wrong.
            partial.discard_pieces(&partial.differing(manifest))?;
        }
        let (partial, held) = self.with_copy(partial).await?;
        let limits = (
            self.inner.rates.clone(),
            self.request.job,
            self.request.priority,
        );
        let proven = manifest.as_ref().map(|manifest| manifest.id());
        let store = Arc::new(PieceStore::new(layout, partial, manifest, limits));
        let saver = SaveOnDrop(Some((Arc::clone(&store), guard)));

        let swarms = part.swarms();
        let (together, once_proven) = match part {
            Part::None => (None, None),
            Part::Once(once) => (None, Some(once)),
            Part::Now(place) => {
                if found.is_none() {
                    place.settle(asked_at).await;
                }
                (Some(place.open(&store, self.audits(wish, layout))?), None)
            }
        };
        let start = self.begin(&store, &held);
        let (sender, events) = mpsc::channel(64);
        let origin_use = origin_use(wish);
        let mut run = FileRun {
            plan: FilePlan::new(
                layout,
                &held,
                self.plan_config(origin_use, named.is_none()),
                now(),
            ),
            store: Arc::clone(&store),
            origin: Arc::clone(&wish.source),
            packing: wish.packing.clone().map(Arc::new),
            origin_use,
            parts_refused: false,
            givers: Vec::new(),
            together,
            once_proven,
            counts: SwarmCounts::default(),
            doubted: BTreeMap::new(),
            contradicted: Vec::new(),
            swarms,
            bans_seen: 0,
            domain: domain.map(|domain| (domain.neighbours, domain.peers)),
            search,
            content: proven,
            beside,
            accounting: start,
            events,
            sender,
            requests: JoinSet::new(),
            running: BTreeMap::new(),
            origin_error: None,
            housekeeping: JoinSet::new(),
            unsaved: 0,
            saved_at: now(),
        };
        run.join_swarm();
        for (peer, holding) in found.map(|found| found.holders).unwrap_or_default() {
            run.join(peer, holding);
        }
        let waited = now().saturating_duration_since(asked_at);
        let most = DiscoveryWindow::LONGEST.saturating_sub(waited);
        let settled = run.settle_once_proven(most).await;
        self.show(|progress| {
            progress.stage = Stage::Transferring;
            progress.content = run.content;
        });
        let result = match settled {
            Ok(()) if layout.pieces() > 0 => self.fetch(wish, &mut run).await,
            settled => settled,
        };
        run.wind_down().await;
        // What came is either kept or was for nothing.
        let mut accounting = run.accounting;
        let came = start.received() + store.received();
        accounting.discarded = came.saturating_sub(accounting.peers + accounting.origin);
        let proven = run.content;
        let vouched = run.beside.vouches_for().map(|id| wish.vouched_for(id));
        let together = run.together.take();
        drop(run);
        drop(store);
        if let Err(mut error) = result {
            error.accounting = accounting;
            if matches!(error.code, "checksum_mismatch" | "origin_changed") {
                self.abandon(saver).await;
                error.accounting = accounting.wasted();
            }
            return if named.is_none() && error.code == "no_source" {
                Ok(None)
            } else {
                Err(error)
            };
        }
        let Some((store, _guard)) = saver.release() else {
            return Ok(None);
        };
        let Some(store) = Arc::into_inner(store) else {
            let context = potluck_plan::ErrorContext::Queue;
            return Err(TransferError::new(
                "internal",
                context,
                "the content is in use",
                true,
            ));
        };
        let wish = vouched.as_ref().unwrap_or(wish);
        let finished = self.finish(wish, store.partial, proven, accounting).await;
        let finished = finished.map_err(|mut error| {
            error.accounting = accounting;
            error
        })?;
        Ok(Some(match finished {
            Some(lease) => {
                if let Some(together) = together {
                    together.finish(lease.id());
                }
                Attempt::Done(lease, accounting)
            }
            None => Attempt::Again(accounting),
        }))
    }

    /// Lets a copy grow where the user wants it. Says what is held already, too.
    async fn with_copy(&self, mut partial: Partial) -> Result<(Partial, Bitfield), TransferError> {
        let destination = self.request.destination.clone();
        blocking(move || {
            if let Some(destination) = destination {
                partial.copy_early(&destination);
            }
            let held = partial.bitfield();
            Ok((partial, held))
        })
        .await
    }

    /// Fetches and checks; what is wrong is fetched again from the origin.
    async fn fetch(&self, wish: &Wish, run: &mut FileRun) -> Result<(), TransferError> {
        let before = self.shown.borrow().swarm;
        loop {
            let shown = |run: &FileRun| {
                self.show(|progress| {
                    progress.accounting = run.accounting;
                    progress.swarm = run.swarm_counts().after(&before);
                    progress.content = run.content;
                    progress.peers = run.givers.len();
                    if run.parts_refused {
                        progress.note(OriginTrouble::NoRanges);
                    }
                    if run.beside.is_stale() {
                        progress.note(OriginTrouble::StaleManifest);
                    }
                });
            };
            let driven = run.drive(shown).await;
            // Also what the last audit said, and when it failed.
            shown(run);
            driven?;
            let wrong = self.check(wish, &run.store).await?;
            if wrong.is_empty() {
                run.convict()?;
                shown(run);
                return Ok(());
            }
            let of_origin = run.plan.pieces_from(Source::Origin).len();
            if of_origin == run.store.layout.pieces() as usize {
                return Err(mismatch(wish, &wrong));
            }
            tracing::warn!(url = %wish.source.meta.url, "the whole is wrong: fetched again from the origin");
            run.distrust_peers()?;
        }
    }

    /// The digests that the pieces on disk do not make.
    async fn check(
        &self,
        wish: &Wish,
        store: &Arc<PieceStore>,
    ) -> Result<Vec<Digest>, TransferError> {
        let made = store.partial.merged();
        let wrong: Vec<_> = wish
            .digests
            .iter()
            .copied()
            .filter(|digest| matches!(digest, Digest::B3(id) if Some(*id) != made))
            .collect();
        let told_by_pieces = |digest: &Digest| matches!(digest, Digest::B3(_));
        if !wrong.is_empty() || wish.digests.iter().all(told_by_pieces) {
            return Ok(wrong);
        }
        self.show(|progress| progress.stage = Stage::Checking);
        let (store, digests) = (Arc::clone(store), wish.digests.clone());
        blocking(move || {
            let read = |buffer: &mut [u8], at: u64| {
                let read = store
                    .partial
                    .read_at(buffer, at)
                    .map_err(std::io::Error::other)?;
                if read {
                    Ok(())
                } else {
                    Err(std::io::ErrorKind::UnexpectedEof.into())
                }
            };
            mismatches(&digests, store.layout.size(), read).map_err(|error| {
                let context = potluck_plan::ErrorContext::LocalFile;
                TransferError::new("cache_failed", context, error.to_string(), true)
            })
        })
        .await
    }

    /// None where a digest tells whether the whole is right.
    fn audits(&self, wish: &Wish, layout: Layout) -> Audits {
        let share = if wish.digests.is_empty() {
            self.inner.config().audit_share
        } else {
            0.0
        };
        let dice = AuditDice::new(share, self.inner.random());
        Audits::new(dice, Arc::clone(&wish.source), layout)
    }

    async fn abandon(&self, saver: SaveOnDrop) {
        let Some((store, guard)) = saver.release() else {
            return;
        };
        let gone = tokio::task::spawn_blocking(move || {
            if let Some(store) = Arc::into_inner(store) {
                store.partial.abandon();
            }
            drop(guard);
        });
        if let Err(error) = gone.await {
            tracing::error!(%error, "an unfinished content could not be deleted");
        }
    }

    /// Where the bytes that are there already came from, as an earlier attempt counted.
    fn begin(&self, store: &PieceStore, held: &Bitfield) -> Accounting {
        let bytes = held
            .held()
            .map(|index| store.layout.len_of(index) as u64)
            .sum::<u64>();
        self.before().resumed(bytes)
    }

    fn plan_config(&self, origin: OriginUse, prove_size: bool) -> FilePlanConfig {
        let config = self.inner.config();
        let (job, priority) = (self.request.job, self.request.priority);
        let cap = self
            .inner
            .rates
            .with(|governor, _| governor.download_rate_of(job, priority));
        // A cap must not look like slow peers.
        let most = cap
            .bits()
            .map_or(Rate::Unlimited, |bits| Rate::Bits(bits / 2));
        FilePlanConfig {
            priority: self.request.priority,
            origin: if prove_size { OriginUse::Never } else { origin },
            origin_connections: config.origin_connections,
            min_peer_rate: config.min_peer_rate.min(most),
            origin_delay: config.origin_delay,
            prove_size,
            ..FilePlanConfig::default()
        }
    }
}

/// Ranges need a validator too: without one, parts could be of different versions.
fn origin_use(wish: &Wish) -> OriginUse {
    let meta = &wish.source.meta;
    if meta.ranges == RangeSupport::No || meta.validator.is_none() {
        OriginUse::Stream
    } else {
        OriginUse::Ranges
    }
}
