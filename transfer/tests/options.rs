//! What a job may choose of how its origins are asked.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use potluck_transfer::origin::{OriginError, OriginRequest};
use potluck_transfer::{ClientCertificate, FileRequest, OriginOptions, ProxyChoice, Redirects};
use support::asking::{client, read};
use support::scripted_origin::{Asked, Reply, ScriptedOrigin, file, head};
use support::secure_origin::{secure_origin, secure_origin_for};
use support::test_domain::TestDomain;
use support::test_node::TestNode;
use support::{blob, check};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

fn request(url: &str, options: OriginOptions) -> OriginRequest {
    let request = OriginRequest::new(url, &[]).unwrap();
    request.with_options(Arc::new(options), None).unwrap()
}

async fn fetch(request: &OriginRequest) -> Result<Vec<u8>, OriginError> {
    let client = client();
    let meta = client.meta(request).await?;
    read(client.get(request, &meta, None).await?).await
}

fn proxy(url: String) -> OriginOptions {
    OriginOptions {
        proxy: ProxyChoice::Url(url),
        ..OriginOptions::default()
    }
}

fn kept(dir: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn plain_urls_are_asked_of_the_proxy() {
    let content = blob(1000, 1);
    let served = content.clone();
    let proxied = ScriptedOrigin::start(move |asked| file(asked, &served, "v1")).await;
    let options = proxy(format!("http://me:pass@{}", proxied.address));
    let asking = request("http://origin.invalid/f?q=1", options);
    assert_eq!(fetch(&asking).await.unwrap(), content);
    for asked in proxied.asked() {
        assert_eq!(asked.path, "http://origin.invalid/f?q=1");
        assert_eq!(asked.field("host").unwrap(), "origin.invalid");
        let said = asked.field("proxy-authorization").unwrap();
        assert_eq!(said, "Basic bWU6cGFzcw==");
    }
    let refusing =
        ScriptedOrigin::start(|_| Reply::Close(head("407 Who", &[("Content-Length", "0".into())])))
            .await;
    let options = proxy(format!("http://{}", refusing.address));
    let refused = fetch(&request("http://origin.invalid/f", options)).await;
    assert_eq!(refused.unwrap_err().code(), "proxy_authentication_required");
}

/// A proxy that makes tunnels to wherever it is asked, for those who know its password.
async fn tunnels() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    asked.push(near.read_u8().await.unwrap());
                }
                let asked = String::from_utf8(asked).unwrap();
                if !asked.contains("Proxy-Authorization: Basic bWU6cGFzcw==") {
                    let _ = near.write_all(b"HTTP/1.1 407 Who\r\n\r\n").await;
                    return;
                }
                let target = asked.split_whitespace().nth(1).unwrap();
                let mut far = TcpStream::connect(target).await.unwrap();
                near.write_all(b"HTTP/1.1 200 Yes\r\n\r\n").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn secure_urls_go_through_a_tunnel() {
    let origin = secure_origin(&[b"http/1.1"]).await;
    let dir = tempfile::tempdir().unwrap();
    let ca_files = vec![kept(&dir, "ca.pem", &origin.pem)];
    let address = tunnels().await;
    let with = |credentials: &str| OriginOptions {
        ca_files: ca_files.clone(),
        ..proxy(format!("http://{credentials}{address}"))
    };
    let got = fetch(&request(&origin.url, with("me:pass@")))
        .await
        .unwrap();
    assert_eq!(got, b"HTTP/1.1");
    let refused = fetch(&request(&origin.url, with(""))).await.unwrap_err();
    assert_eq!(refused.code(), "proxy_authentication_required");
    assert!(!refused.is_transient());
    assert!(
        refused.to_string().contains(&address.to_string()),
        "{refused}"
    );
}

#[tokio::test]
async fn a_proxy_that_is_away_is_named() {
    let away = fetch(&request("http://o/f", proxy("http://127.0.0.1:1".into()))).await;
    let away = away.unwrap_err();
    assert_eq!(away.code(), "proxy_unreachable");
    assert!(
        away.is_transient() && away.to_string().contains("127.0.0.1:1"),
        "{away}"
    );
}

#[tokio::test]
async fn a_certificate_is_shown_by_the_job_that_names_it_only() {
    let made = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
    let clients = Some(made.cert.der().clone());
    let origin = secure_origin_for(&[b"http/1.1"], clients).await;
    let dir = tempfile::tempdir().unwrap();
    let ca_files = vec![kept(&dir, "ca.pem", &origin.pem)];
    let without = OriginOptions {
        ca_files,
        ..OriginOptions::default()
    };
    let with = OriginOptions {
        client_certificate: Some(ClientCertificate {
            certificate_file: kept(&dir, "client.pem", &made.cert.pem()),
            key_file: kept(&dir, "client.key", &made.signing_key.serialize_pem()),
        }),
        ..without.clone()
    };
    let (client, known) = (client(), request(&origin.url, with.clone()));
    let meta = client.meta(&known).await.unwrap();
    assert!(!meta.shareable, "it was for this client");
    // The connection of the one is open; the other must not come to use it.
    let unknown = client.meta(&request(&origin.url, without)).await;
    assert!(unknown.is_err(), "{unknown:?}");
    client.meta(&known).await.unwrap();

    let stranger = OriginRequest::new(&origin.url, &[]).unwrap();
    let stranger = stranger
        .with_options(Arc::new(with), Some(u32::MAX - 1))
        .unwrap();
    let path = dir.path().join("client.key");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&path, mode).unwrap();
    let refused = client.meta(&stranger).await.unwrap_err();
    assert_eq!(refused.code(), "bad_option");
    assert!(refused.to_string().contains("may not read"), "{refused}");
}

#[tokio::test]
async fn a_certificate_is_not_shown_where_a_redirect_leads() {
    let made = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
    let asking = secure_origin_for(&[b"http/1.1"], Some(made.cert.der().clone())).await;
    let location = asking.url.clone();
    let leading = ScriptedOrigin::start(move |_| {
        let fields = [
            ("Location", location.clone()),
            ("Content-Length", "0".into()),
        ];
        Reply::Keep(head("302 Found", &fields))
    });
    let leading = leading.await;
    let dir = tempfile::tempdir().unwrap();
    let options = OriginOptions {
        ca_files: vec![kept(&dir, "ca.pem", &asking.pem)],
        client_certificate: Some(ClientCertificate {
            certificate_file: kept(&dir, "client.pem", &made.cert.pem()),
            key_file: kept(&dir, "client.key", &made.signing_key.serialize_pem()),
        }),
        ..OriginOptions::default()
    };
    let named = request(&asking.url, options.clone());
    client().meta(&named).await.unwrap();
    let led = client().meta(&request(&leading.url("/f"), options)).await;
    assert!(led.is_err(), "{led:?}");
}

fn redirecting(asked: &Asked) -> Reply {
    match asked.path.as_str() {
        "/a" => Reply::Keep(head(
            "302 Found",
            &[("Location", "/b".into()), ("Content-Length", "0".into())],
        )),
        _ => file(asked, b"here", "v1"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed_reported_or_refused() {
    let origin = ScriptedOrigin::start(redirecting).await;
    let node = TestNode::start(&TestDomain::new()).await;
    let get = async |redirects| {
        let mut request = FileRequest::new(origin.url("/a"), "job");
        request.options = Arc::new(OriginOptions {
            redirects,
            ..OriginOptions::default()
        });
        node.get(request).await
    };
    let allowed = get(Redirects::Allow).await.unwrap();
    check(&allowed, b"here");
    assert_eq!(allowed.final_url, Some(origin.url("/b")));
    assert_eq!(allowed.entity.unwrap().url, origin.url("/a"));
    let etag = ("etag".to_owned(), "\"v1\"".to_owned());
    assert!(allowed.response_headers.contains(&etag));
    let reported = get(Redirects::Report).await.unwrap();
    assert_eq!(reported.final_url, Some(origin.url("/b")));
    assert_eq!(reported.entity.unwrap().url, origin.url("/a"));
    let refused = get(Redirects::Forbid).await.unwrap_err();
    assert_eq!(
        (refused.code, refused.retryable),
        ("origin_redirect_forbidden", false)
    );
    assert!(refused.message.contains(&origin.url("/b")), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_method_and_the_name_are_the_jobs() {
    let origin = ScriptedOrigin::start(|asked| {
        let text = format!("{} as {}", asked.method, asked.field("user-agent").unwrap());
        let mut bytes = head("200 OK", &[("Content-Length", text.len().to_string())]);
        bytes.extend(text.into_bytes());
        Reply::Keep(bytes)
    })
    .await;
    let node = TestNode::start(&TestDomain::new()).await;
    let mut request = FileRequest::new(origin.url("/f"), "job");
    request.options = Arc::new(OriginOptions {
        method: Some("POST".into()),
        user_agent: Some("tester/1".into()),
        ..OriginOptions::default()
    });
    let done = node.get(request).await.unwrap();
    check(&done, b"POST as tester/1");
    assert!(!done.shareable && done.entity.is_none());
    // It may do something each time: it is sent once.
    assert_eq!(origin.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_do_something_is_sent_once_whatever_comes_of_it() {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(b"what was posted").unwrap();
    let packed = packer.finish().unwrap();
    let origin = ScriptedOrigin::start(move |asked| {
        let mut fields = vec![("Content-Length", packed.len().to_string())];
        match asked.path.as_str() {
            "/packed" => {
                fields.push(("Content-Encoding", "gzip".into()));
                let mut bytes = head("200 OK", &fields);
                bytes.extend(&packed);
                Reply::Keep(bytes)
            }
            "/short" => Reply::Close(head("200 OK", &fields)),
            _ => Reply::Reset(Vec::new()),
        }
    })
    .await;
    let node = TestNode::start(&TestDomain::new()).await;
    let post = async |path: &str, method: &str| {
        let mut request = FileRequest::new(origin.url(path), path);
        request.options = Arc::new(OriginOptions {
            method: Some(method.into()),
            ..OriginOptions::default()
        });
        node.get(request).await
    };
    check(&post("/packed", "POST").await.unwrap(), b"what was posted");
    for path in ["/short", "/reset"] {
        let failed = post(path, "POST").await.unwrap_err();
        assert!(!failed.retryable, "{failed}");
        assert!(failed.message.contains("resumed"), "{failed}");
    }
    assert_eq!(origin.asked().len(), 3, "each once");
    assert!(post("/short", "PUT").await.unwrap_err().retryable);
    assert_eq!(origin.asked().len(), 4);
}

#[test]
fn what_http_does_not_carry_is_refused() {
    for options in [
        OriginOptions {
            method: Some("A B".into()),
            ..OriginOptions::default()
        },
        OriginOptions {
            method: Some("CONNECT".into()),
            ..OriginOptions::default()
        },
        OriginOptions {
            user_agent: Some("a\nb".into()),
            ..OriginOptions::default()
        },
    ] {
        let request = OriginRequest::new("http://o/", &[]).unwrap();
        let refused = request.with_options(Arc::new(options), None).unwrap_err();
        assert_eq!(refused.code(), "bad_option");
    }
}
