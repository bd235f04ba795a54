//! Origins over TLS, with HTTP/1.1 and HTTP/2.
#![allow(missing_docs, clippy::unwrap_used)]

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use potluck_transfer::origin::{OriginClient, OriginConfig, OriginError, OriginRequest};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

struct SecureOrigin {
    url: String,
    pem: String,
    task: JoinHandle<()>,
}

impl Drop for SecureOrigin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An origin whose answer names the version of HTTP; `/plain` leads to http.
async fn secure_origin(protocols: &[&[u8]]) -> SecureOrigin {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    tls.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}/f",
        listener.local_addr().unwrap().port()
    );
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = server
                    .serve_connection(TokioIo::new(stream), service_fn(answer))
                    .await;
            });
        }
    });
    SecureOrigin {
        url,
        pem: certificate.pem(),
        task,
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/plain" {
        let answer = Response::builder()
            .status(302)
            .header("location", "http://localhost/f");
        return Ok(answer.body(Full::default()).unwrap());
    }
    Ok(Response::new(Full::from(format!(
        "{:?}",
        request.version()
    ))))
}

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
