//! Fetches a file whose size nobody names: from its first byte to its end.

use potluck_cache::Partial;
use potluck_plan::{Accounting, JobKey, Priority, Source};

use crate::engine::fetch::OriginSource;
use crate::engine::request::TransferError;
use crate::rates::Rates;

/// Bytes that are gathered before they are written.
const BATCH: usize = 1 << 20;

/// Appends everything the origin sends to the partial.
pub(crate) async fn stream(
    source: &OriginSource,
    mut partial: Partial,
    (rates, job, priority): (&Rates, JobKey, Priority),
    accounting: &mut Accounting,
    mut show: impl FnMut(Accounting) + Send,
) -> Result<Partial, TransferError> {
    let mut body = source
        .client
        .get(&source.request, &source.meta, None)
        .await?;
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let bytes = body.next().await?;
        if let Some(bytes) = &bytes {
            batch.extend_from_slice(bytes);
            accounting.add(Source::Origin, bytes.len() as u64);
            rates
                .wait_to_download(job, priority, bytes.len() as u64)
                .await;
            show(*accounting);
        }
        if batch.len() >= BATCH || (bytes.is_none() && !batch.is_empty()) {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            partial = tokio::task::spawn_blocking(move || partial.append(&full).map(|()| partial))
                .await
                .map_err(|error| TransferError::internal(&error))??;
        }
        if bytes.is_none() {
            return Ok(partial);
        }
    }
}
