//! The sidecar of an unfinished content.

use potluck_content::{Bitfield, ContentId, Layout, Manifest};
use serde::{Deserialize, Serialize};

use crate::PartialKey;
use crate::meta::{bytes_to_values, senseless, values_to_bytes};
use crate::piece_map::PieceMap;
use crate::sidecar::{Sidecar, SidecarError};

const KIND: &str = "partial";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Text {
    key: PartialKey,
    size: u64,
    /// The content, when a manifest is known; then the values are all of it.
    manifest: Option<ContentId>,
}

/// What can be resumed of `map` when only `held` counts. The blob is the bitfield and
/// then one value for each piece.
pub(crate) fn encode(key: &PartialKey, map: &PieceMap, held: &Bitfield) -> Vec<u8> {
    let text = Text {
        key: key.clone(),
        size: map.layout().size(),
        manifest: map.manifest().map(Manifest::id),
    };
    let mut blob = held.as_bytes().to_vec();
    blob.extend(values_to_bytes(map.values()));
    Sidecar {
        text: serde_json::to_vec(&text).expect("plain data has a JSON form"),
        blob,
    }
    .encode(KIND, VERSION)
}

pub(crate) fn decode(key: &PartialKey, bytes: &[u8]) -> Result<PieceMap, SidecarError> {
    let (found, map) = read(bytes)?;
    if found != *key {
        return Err(senseless("it belongs to another partial"));
    }
    Ok(map)
}

/// What can be resumed, whosever it is.
pub(crate) fn describe(bytes: &[u8]) -> Result<PieceMap, SidecarError> {
    read(bytes).map(|(_, map)| map)
}

fn read(bytes: &[u8]) -> Result<(PartialKey, PieceMap), SidecarError> {
    let sidecar = Sidecar::decode(bytes, KIND, VERSION)?;
    let text: Text = serde_json::from_slice(&sidecar.text).map_err(senseless)?;
    let layout = Layout::for_size(text.size).map_err(senseless)?;
    let bits = layout.pieces().div_ceil(8) as usize;
    let (bits, values) = sidecar
        .blob
        .split_at_checked(bits)
        .ok_or(SidecarError::Damaged)?;
    let held = Bitfield::from_bytes(layout.pieces(), bits.to_vec()).map_err(senseless)?;
    let values = bytes_to_values(values)?;
    if values.len() != layout.pieces() as usize {
        return Err(SidecarError::Damaged);
    }
    let manifest = match text.manifest {
        Some(id) => Some(Manifest::new(id, text.size, values.clone()).map_err(senseless)?),
        None => None,
    };
    let map = PieceMap::restore(layout, manifest, held, values);
    Ok((text.key, map))
}

#[cfg(test)]
mod tests {
    use super::*;
    use potluck_content::{MIN_PIECE_LEN, PieceIndex};

    #[test]
    fn reads_what_it_wrote() {
        let key = PartialKey::Private("job/0".into());
        let manifest = Manifest::of(&vec![1; 3 * MIN_PIECE_LEN as usize]).unwrap();
        let mut map = PieceMap::new(*manifest.layout(), Some(manifest.clone()));
        let value = manifest.values()[1];
        let _ = map.begin(PieceIndex(1), value);
        assert!(map.end(PieceIndex(1), value, true));
        let bytes = encode(&key, &map, map.held());
        let again = decode(&key, &bytes).unwrap();
        assert_eq!(again.held(), map.held());
        assert_eq!(again.manifest(), Some(&manifest));
        assert!(decode(&PartialKey::Private("job/1".into()), &bytes).is_err());
    }
}
