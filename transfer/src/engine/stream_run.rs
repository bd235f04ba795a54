//! Fetches a file whose size nobody names: from its first byte to its end.

use bytes::Bytes;
use potluck_cache::Partial;
use potluck_plan::{Accounting, JobKey, Priority};

use crate::engine::request::TransferError;
use crate::origin::OriginBody;
use crate::rates::Rates;

/// Bytes that are gathered before they are written.
const BATCH: usize = 1 << 20;

/// Appends everything the origin sends to the partial.
pub(crate) async fn stream(
    mut body: OriginBody,
    mut partial: Partial,
    (rates, job, priority): (&Rates, JobKey, Priority),
    accounting: &mut Accounting,
    mut show: impl FnMut(Accounting) + Send,
) -> Result<Partial, TransferError> {
    let before = *accounting;
    let mut batch = Vec::with_capacity(BATCH);
    let (mut sent, mut made) = (0, 0);
    loop {
        let next = body.next().await;
        let came = body.received() - std::mem::replace(&mut sent, body.received());
        made += next.as_ref().map_or(0, |bytes| len(bytes.as_ref()));
        *accounting = before;
        accounting.add_unpacked(sent, made);
        show(*accounting);
        let bytes = next?;
        rates.wait_to_download(job, priority, came).await;
        batch.extend_from_slice(bytes.as_deref().unwrap_or_default());
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

fn len(bytes: Option<&Bytes>) -> u64 {
    bytes.map_or(0, |bytes| bytes.len() as u64)
}
