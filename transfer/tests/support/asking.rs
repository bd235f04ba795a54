//! An origin client in a hurry, and short ways to ask with it.

use std::time::Duration;

use potluck_transfer::origin::{
    OriginBody, OriginClient, OriginConfig, OriginError, OriginMeta, OriginRequest,
};

use crate::support::blob;
use crate::support::scripted_origin::{Asked, Reply, ScriptedOrigin, file, head};

pub fn client() -> OriginClient {
    OriginClient::new(OriginConfig {
        answer_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(300),
        ..OriginConfig::default()
    })
    .unwrap()
}

pub fn request(url: &str) -> OriginRequest {
    OriginRequest::new(url, &[]).unwrap()
}

pub async fn meta_of(
    script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> Result<OriginMeta, OriginError> {
    let origin = ScriptedOrigin::start(script).await;
    client().meta(&request(&origin.url("/f"))).await
}

pub async fn read(mut body: OriginBody) -> Result<Vec<u8>, OriginError> {
    let mut bytes = Vec::new();
    while let Some(part) = body.next().await? {
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

/// Asks for a range of a file of 1000 bytes from an origin that answers GET by `script`.
pub async fn range_of(
    range: std::ops::Range<u64>,
    script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> Result<Vec<u8>, OriginError> {
    let content = blob(1000, 1);
    let origin = ScriptedOrigin::start(move |asked| {
        if asked.method == "HEAD" {
            file(asked, &content, "v1")
        } else {
            script(asked)
        }
    })
    .await;
    let (client, request) = (client(), request(&origin.url("/f")));
    let meta = client.meta(&request).await?;
    read(client.get(&request, &meta, Some(range)).await?).await
}

pub fn part(content_range: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let fields = [
        ("Content-Range", content_range.to_owned()),
        ("Content-Length", length.to_string()),
    ];
    [head("206 Partial Content", &fields), body.to_vec()].concat()
}
