//! Checking a whole against digests that others gave.

use std::io;

use aws_lc_rs::digest::{Context, SHA256, SHA512};
use potluck_content::{Digest, DigestAlgorithm};

/// Bytes read at a time.
const STEP: usize = 1 << 20;

/// Reads `size` bytes and says which of the wanted digests do not match. BLAKE3 is not
/// looked at: the content id says it already. Blocks.
pub(crate) fn mismatches(
    wanted: &[Digest],
    size: u64,
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<()>,
) -> io::Result<Vec<Digest>> {
    let context_for = |algorithm: DigestAlgorithm| {
        let used = wanted.iter().any(|digest| digest.algorithm() == algorithm);
        match algorithm {
            DigestAlgorithm::Sha256 if used => Some(Context::new(&SHA256)),
            DigestAlgorithm::Sha512 if used => Some(Context::new(&SHA512)),
            _ => None,
        }
    };
    let mut contexts: Vec<_> = DigestAlgorithm::ALL
        .into_iter()
        .filter_map(|algorithm| Some((algorithm, context_for(algorithm)?)))
        .collect();
    if contexts.is_empty() {
        return Ok(Vec::new());
    }
    let mut buffer = vec![0; STEP];
    let mut at = 0;
    while at < size {
        let len = usize::try_from(size - at).map_or(STEP, |left| left.min(STEP));
        read(&mut buffer[..len], at)?;
        for (_, context) in &mut contexts {
            context.update(&buffer[..len]);
        }
        at += len as u64;
    }
    let found: Vec<_> = contexts
        .into_iter()
        .map(|(algorithm, context)| (algorithm, context.finish()))
        .collect();
    let differs = |digest: &&Digest| {
        found.iter().any(|(algorithm, found)| {
            *algorithm == digest.algorithm() && found.as_ref() != digest.as_bytes()
        })
    };
    Ok(wanted.iter().filter(differs).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_digests_that_do_not_match() {
        let right: Digest =
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
                .parse()
                .unwrap();
        let wrong = Digest::Sha512([0; 64]);
        let read = |buffer: &mut [u8], at: u64| {
            buffer.copy_from_slice(&b"abc"[at as usize..at as usize + buffer.len()]);
            Ok(())
        };
        assert_eq!(mismatches(&[right, wrong], 3, read).unwrap(), [wrong]);
        assert_eq!(mismatches(&[right], 3, read).unwrap(), []);
        assert_eq!(mismatches(&[right], 2, read).unwrap(), [right]);
    }
}
