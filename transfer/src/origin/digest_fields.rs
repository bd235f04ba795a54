//! Digests that an answer carries in its fields (RFC 9530, RFC 3230, and so those of
//! mirrors by RFC 6249).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use potluck_content::Digest;

/// The digests that an answer gives of the whole content.
///
/// `Repr-Digest` is of the whole, also in an answer that is a part. `Content-Digest`
/// is of what this answer carries, so it counts only when that is the whole, and not
/// where it is of nothing, as in an answer to HEAD (RFC 9530, appendix B.2). The old
/// `Digest` field (RFC 3230) is as `Repr-Digest`.
pub(crate) fn read_digests(headers: &HeaderMap, whole: bool) -> Vec<Digest> {
    let mut digests = Vec::new();
    let mut read = |name: &str, parse: fn(&str) -> Option<Digest>| {
        for field in headers.get_all(name) {
            let members = field.to_str().unwrap_or_default().split(',');
            for digest in members.filter_map(parse) {
                if !digests.contains(&digest) {
                    digests.push(digest);
                }
            }
        }
    };
    read("repr-digest", structured_member);
    if whole {
        read("content-digest", |member| {
            structured_member(member).filter(|digest| !is_of_nothing(digest))
        });
    }
    read("digest", plain_member);
    digests
}

fn is_of_nothing(digest: &Digest) -> bool {
    use aws_lc_rs::digest::{SHA256, SHA512, digest as hash};
    match digest {
        Digest::Sha256(bytes) => hash(&SHA256, &[]).as_ref() == bytes,
        Digest::Sha512(bytes) => hash(&SHA512, &[]).as_ref() == bytes,
        Digest::B3(_) => false,
    }
}

/// `sha-256=:<base64>:`, with parameters after it left aside.
fn structured_member(member: &str) -> Option<Digest> {
    let (name, value) = member.trim().split_once('=')?;
    let value = value.strip_prefix(':')?;
    let (encoded, _) = value.split_once(':')?;
    digest(name, encoded)
}

/// `SHA-256=<base64>`.
fn plain_member(member: &str) -> Option<Digest> {
    let (name, encoded) = member.trim().split_once('=')?;
    digest(name, encoded)
}

fn digest(name: &str, encoded: &str) -> Option<Digest> {
    let bytes = STANDARD.decode(encoded).ok()?;
    if name.eq_ignore_ascii_case("sha-256") {
        Some(Digest::Sha256(bytes.try_into().ok()?))
    } else if name.eq_ignore_ascii_case("sha-512") {
        Some(Digest::Sha512(bytes.try_into().ok()?))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, String)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn reads_the_digests_it_knows() {
        let (sha256, sha512) = ([7; 32], [9; 64]);
        let value = format!(
            "unixsum=:AAA=:, sha-256=:{}:;x=1, sha-512=:{}:",
            STANDARD.encode(sha256),
            STANDARD.encode(sha512)
        );
        let found = read_digests(&headers(&[("repr-digest", value)]), false);
        assert_eq!(found, [Digest::Sha256(sha256), Digest::Sha512(sha512)]);
        let old = format!("SHA-256={}", STANDARD.encode(sha256));
        let found = read_digests(&headers(&[("digest", old)]), false);
        assert_eq!(found, [Digest::Sha256(sha256)]);
    }

    #[test]
    fn a_digest_of_a_part_is_none_of_the_whole() {
        let fields = headers(&[(
            "content-digest",
            format!("sha-256=:{}:", STANDARD.encode([1; 32])),
        )]);
        assert!(read_digests(&fields, false).is_empty());
        assert_eq!(read_digests(&fields, true), [Digest::Sha256([1; 32])]);
        // An answer to HEAD carries nothing.
        let nothing = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";
        assert!(read_digests(&headers(&[("content-digest", nothing.to_owned())]), true).is_empty());
    }

    #[test]
    fn nonsense_is_no_digest() {
        for value in [
            "sha-256",
            "sha-256=abc",
            "sha-256=:abc:",
            "sha-256=:AAAA:",
            "",
        ] {
            let fields = headers(&[("repr-digest", value.to_owned())]);
            assert!(read_digests(&fields, true).is_empty(), "{value}");
        }
    }
}
