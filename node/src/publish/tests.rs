use std::os::unix::ffi::OsStrExt as _;

use potluck_content::{ContentId, Manifest};

use super::*;

fn published(dir: &Path, name: &str, bytes: &[u8]) -> Published {
    let file = dir.join(name);
    fs::write(&file, bytes).unwrap();
    publish(&file, None, &[]).unwrap()
}

#[test]
fn the_manifest_is_beside_the_file_and_proves_it() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = vec![7; 600_000];
    let made = published(dir.path(), "big.iso", &bytes);
    assert_eq!(made.path, dir.path().join("big.iso.potluck"));
    let read = ManifestFile::from_bytes(&fs::read(&made.path).unwrap()).unwrap();
    assert_eq!(read, made.manifest);
    assert_eq!(*read.manifest(), Manifest::of(&bytes).unwrap());
    let names = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(names, 2, "nothing else is left");
}

#[test]
fn further_digests_are_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("abc");
    fs::write(&file, b"abc").unwrap();
    let made = publish(&file, None, &DigestAlgorithm::ALL).unwrap();
    let found: Vec<_> = made
        .manifest
        .digests()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        found[0],
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert!(found[1].starts_with("sha512:ddaf35a193617aba"));
}

#[test]
fn a_manifest_is_replaced_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    published(dir.path(), "f", b"old");
    let made = published(dir.path(), "f", b"new");
    assert_eq!(made.manifest.manifest().id(), ContentId::of(b"new"));

    let precious = dir.path().join("g.potluck");
    fs::write(&precious, b"somebody's notes").unwrap();
    fs::write(dir.path().join("g"), b"x").unwrap();
    let error = publish(&dir.path().join("g"), None, &[]).unwrap_err();
    assert!(matches!(error, PublishError::InTheWay(_)), "{error}");
    assert_eq!(fs::read(&precious).unwrap(), b"somebody's notes");
}

#[test]
fn it_goes_where_it_is_sent_and_may_be_read_as_the_file_may() {
    let dir = tempfile::tempdir().unwrap();
    let (file, into) = (dir.path().join("f"), dir.path().join("out"));
    fs::write(&file, b"x").unwrap();
    fs::create_dir(&into).unwrap();
    for mode in [0o755, 0o640] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let made = publish(&file, Some(&into), &[]).unwrap();
        assert_eq!(made.path, into.join("f.potluck"));
        let found = fs::metadata(&made.path).unwrap().mode() & 0o777;
        assert_eq!(found, mode & 0o666);
    }
}

#[test]
fn a_file_that_grows_meanwhile_has_no_manifest() {
    let dir = tempfile::tempdir().unwrap();
    // What is read of such a file is never what its size says.
    let growing = Path::new("/proc/self/status");
    let error = publish(growing, Some(dir.path()), &[]).unwrap_err();
    assert!(matches!(error, PublishError::Changed(_)), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn says_what_cannot_be_published() {
    let dir = tempfile::tempdir().unwrap();
    let error = publish(dir.path(), None, &[]).unwrap_err();
    assert!(matches!(error, PublishError::NotAFile(_)), "{error}");
    let missing = dir.path().join("missing");
    let error = publish(&missing, None, &[]).unwrap_err().to_string();
    assert!(error.contains("missing"), "{error}");
}

#[test]
fn knows_a_manifest_by_its_name_and_by_what_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let odd = std::ffi::OsStr::from_bytes(b"odd\xff");
    let file = dir.path().join(odd);
    fs::write(&file, b"x").unwrap();
    let made = publish(&file, None, &[]).unwrap();
    assert!(is_manifest(&made.path));
    assert!(!is_manifest(&file));
    let other = dir.path().join("other.potluck");
    fs::write(&other, b"x").unwrap();
    assert!(!is_manifest(&other));
}
