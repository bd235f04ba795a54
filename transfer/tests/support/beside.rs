//! An origin with a manifest beside its files.

use potluck_content::MANIFEST_ENDING;
use tokio::sync::watch;

use super::scripted_origin::{Asked, Reply, ScriptedOrigin, file};

/// What names the manifest of a file in its own directory.
pub const LINK: &str = "<f.potluck>; rel=describedby; type=\"application/vnd.potluck.manifest\"";

/// What the origin sends only when it is told to: everything, unless a test says otherwise.
pub struct Gates {
    pub manifest: watch::Sender<bool>,
    pub file: watch::Sender<bool>,
    /// What ends in the second half of a file.
    pub second_half: watch::Sender<bool>,
}

impl Default for Gates {
    fn default() -> Self {
        let open = || watch::channel(true).0;
        Self {
            manifest: open(),
            file: open(),
            second_half: open(),
        }
    }
}

pub struct BesideOrigin(ScriptedOrigin);

impl BesideOrigin {
    /// Every file of it has these bytes and this manifest.
    pub async fn start(content: &[u8], manifest: Vec<u8>, gates: &Gates, links: &[&str]) -> Self {
        let gate = gates.manifest.subscribe();
        Self::start_with_file(content, gates, links, move || {
            let asked = Asked {
                method: "GET".to_owned(),
                path: String::new(),
                head: String::new(),
            };
            let Reply::Keep(bytes) = file(&asked, &manifest, "m1") else {
                unreachable!("a file is kept");
            };
            Reply::Once(Vec::new(), gate.clone(), bytes)
        })
        .await
    }

    /// This is what it answers when somebody asks for a manifest.
    pub async fn answering(
        content: &[u8],
        links: &[&str],
        manifest: impl Fn() -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_with_file(content, &Gates::default(), links, manifest).await
    }

    pub async fn start_with_file(
        content: &[u8],
        gates: &Gates,
        links: &[&str],
        manifest: impl Fn() -> Reply + Send + Sync + 'static,
    ) -> Self {
        let (content, half) = (content.to_vec(), content.len() as u64 / 2);
        let (gate, second_half) = (gates.file.subscribe(), gates.second_half.subscribe());
        let fields: String = links
            .iter()
            .map(|link| format!("Link: {link}\r\n"))
            .collect();
        let script = move |asked: &Asked| {
            if is_manifest(asked) {
                return manifest();
            }
            let Reply::Keep(bytes) = file(asked, &content, "v1") else {
                unreachable!("a file is kept");
            };
            let at = bytes.windows(2).position(|w| w == b"\r\n").unwrap() + 2;
            let bytes = [&bytes[..at], fields.as_bytes(), &bytes[at..]].concat();
            if asked.method != "GET" {
                return Reply::Keep(bytes);
            }
            if *second_half.borrow() {
                return Reply::Once(Vec::new(), gate.clone(), bytes);
            }
            let last = asked
                .range()
                .map_or(content.len() as u64 - 1, |(_, last)| last);
            let late = usize::try_from(last.saturating_sub(half)).unwrap();
            let (first, rest) = bytes.split_at(bytes.len().saturating_sub(late));
            Reply::Once(first.to_vec(), second_half.clone(), rest.to_vec())
        };
        Self(ScriptedOrigin::start(script).await)
    }

    pub fn url(&self, path: &str) -> String {
        self.0.url(path)
    }

    pub fn asked_for_manifests(&self) -> Vec<Asked> {
        let mut asked = self.0.asked();
        asked.retain(is_manifest);
        asked
    }
}

fn is_manifest(asked: &Asked) -> bool {
    asked.path.ends_with(MANIFEST_ENDING)
}
