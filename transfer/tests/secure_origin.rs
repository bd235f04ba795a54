//! Origins over TLS, with HTTP/1.1 and HTTP/2.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use potluck_transfer::origin::{OriginClient, OriginConfig, OriginError, OriginRequest};
use support::secure_origin::secure_origin;

#[tokio::test]
async fn roots_protocols_and_redirects_of_secure_origins() {
    for (protocols, version) in [
        (&[b"http/1.1".as_slice()][..], "HTTP/1.1"),
        (&[b"h2".as_slice(), b"http/1.1"][..], "HTTP/2.0"),
    ] {
        let origin = secure_origin(protocols).await;
        let request = OriginRequest::new(&origin.url, &[]).unwrap();
        let stranger = OriginClient::new(OriginConfig::default()).unwrap();
        let refused = stranger.meta(&request).await;
        assert!(
            matches!(refused, Err(OriginError::Tls { .. })),
            "{refused:?}"
        );

        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &origin.pem).unwrap();
        let ca_files = vec![file.path().to_owned()];
        let config = OriginConfig {
            ca_files,
            ..OriginConfig::default()
        };
        let client = OriginClient::new(config).unwrap();
        let meta = client.meta(&request).await.unwrap();
        let mut body = client.get(&request, &meta, None).await.unwrap();
        assert!(
            body.socket()
                .is_some_and(|socket| socket.with(|_| ()).is_some())
        );
        assert_eq!(body.next().await.unwrap().unwrap(), version);
        assert!(body.next().await.unwrap().is_none());

        let plain = OriginRequest::new(&origin.url.replace("/f", "/plain"), &[]).unwrap();
        let refused = client.meta(&plain).await;
        assert!(
            matches!(refused, Err(OriginError::InsecureRedirect { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn files_without_roots_are_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for path in [file.path(), std::path::Path::new("/nowhere/ca.pem")] {
        let config = OriginConfig {
            ca_files: vec![path.to_owned()],
            ..OriginConfig::default()
        };
        let refused = OriginClient::new(config).unwrap_err().to_string();
        assert!(refused.contains(path.to_str().unwrap()), "{refused}");
    }
}
