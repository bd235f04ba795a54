//! Origins behind a SOCKS proxy.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use potluck_transfer::origin::{OriginClient, OriginConfig, OriginError, OriginRequest};
use potluck_transfer::{OriginOptions, ProxyChoice};
use support::asking::read;
use support::blob;
use support::scripted_origin::{ScriptedOrigin, file};
use support::secure_origin::secure_origin;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A proxy (RFC 1928) for who says `me` and `pass` (RFC 1929). Whatever host is named, it
/// connects to this machine.
async fn proxy() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(carry(stream));
        }
    });
    address
}

/// A text that has its length before it.
async fn text(stream: &mut TcpStream) -> Vec<u8> {
    let mut text = vec![0; stream.read_u8().await.unwrap().into()];
    stream.read_exact(&mut text).await.unwrap();
    text
}

async fn carry(mut near: TcpStream) {
    assert_eq!(near.read_u8().await.unwrap(), 5);
    if !text(&mut near).await.contains(&2) {
        near.write_all(&[5, 0xff]).await.unwrap();
        return;
    }
    near.write_all(&[5, 2]).await.unwrap();
    assert_eq!(near.read_u8().await.unwrap(), 1);
    let known = text(&mut near).await == b"me" && text(&mut near).await == b"pass";
    near.write_all(&[1, u8::from(!known)]).await.unwrap();
    if !known {
        return;
    }
    let mut head = [0; 4];
    near.read_exact(&mut head).await.unwrap();
    match head {
        [5, 1, 0, 1] => drop(near.read_u32().await.unwrap()),
        [5, 1, 0, 4] => drop(near.read_u128().await.unwrap()),
        [5, 1, 0, 3] => assert_eq!(text(&mut near).await, b"origin.invalid"),
        other => panic!("{other:?}"),
    }
    let port = near.read_u16().await.unwrap();
    let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    near.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
}

async fn fetch(url: &str, options: OriginOptions) -> Result<Vec<u8>, OriginError> {
    let request = OriginRequest::new(url, &[]).unwrap();
    let request = request.with_options(Arc::new(options), None).unwrap();
    // Not in a hurry: nothing here is to time out, however busy the machine is.
    let client = OriginClient::new(OriginConfig::default()).unwrap();
    let meta = client.meta(&request).await?;
    read(client.get(&request, &meta, None).await?).await
}

fn by(proxy: String) -> OriginOptions {
    OriginOptions {
        proxy: ProxyChoice::Url(proxy),
        ..OriginOptions::default()
    }
}

#[tokio::test]
async fn a_socks_proxy_carries_plain_and_secure_urls() {
    let address = proxy().await;
    let content = blob(1000, 1);
    let served = content.clone();
    let plain = ScriptedOrigin::start(move |asked| file(asked, &served, "v1")).await;
    let with = |scheme: &str| by(format!("{scheme}://me:pass@{address}"));
    assert_eq!(
        fetch(&plain.url("/f"), with("socks5")).await.unwrap(),
        content
    );
    // Only the proxy knows that name.
    let named = format!("http://origin.invalid:{}/f", plain.address.port());
    assert_eq!(fetch(&named, with("socks5h")).await.unwrap(), content);
    let unknown = fetch(&named, with("socks5")).await.unwrap_err();
    assert_eq!(unknown.code(), "origin_name_not_resolved");
    // It is asked as if nothing were in between.
    assert!(plain.asked().iter().all(|asked| asked.path == "/f"));

    let secure = secure_origin(&[b"http/1.1"]).await;
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, &secure.pem).unwrap();
    let options = OriginOptions {
        ca_files: vec![ca],
        ..with("socks5")
    };
    assert_eq!(fetch(&secure.url, options).await.unwrap(), b"HTTP/1.1");
}

#[tokio::test]
async fn a_socks_proxy_that_refuses_is_named() {
    let address = proxy().await;
    for login in ["", "me:wrong@"] {
        let options = by(format!("socks5h://{login}{address}"));
        let refused = fetch("http://origin.invalid/f", options).await.unwrap_err();
        assert_eq!(refused.code(), "proxy_unreachable");
        let told = refused.to_string();
        assert!(told.contains(&address.to_string()), "{told}");
        assert!(!told.contains("wrong"), "{told}");
    }
}
