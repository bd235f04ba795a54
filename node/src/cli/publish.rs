//! `potluck publish`: manifests beside files that an origin serves. No node is needed.

use std::path::PathBuf;

use potluck_content::DigestAlgorithm;
use serde_json::json;

use super::failure::Failure;
use super::output::Output;
use crate::config::show_size;
use crate::publish::{Published, is_manifest, publish};

/// `potluck publish`
#[derive(Debug, clap::Args)]
pub(super) struct PublishArgs {
    /// The files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write the manifests into this directory, not beside the files.
    #[arg(
        short,
        long,
        value_name = "DIR",
        env = "POTLUCK_OUTPUT",
        hide_env_values = true
    )]
    output: Option<PathBuf>,
    /// A further digest in the manifests: sha256 or sha512; may be given more than once.
    #[arg(long = "digest", value_name = "ALG", value_parser = algorithm, env = "POTLUCK_DIGEST", hide_env_values = true)]
    digests: Vec<DigestAlgorithm>,
}

fn algorithm(name: &str) -> Result<DigestAlgorithm, String> {
    let others = [DigestAlgorithm::Sha256, DigestAlgorithm::Sha512];
    let known = others.into_iter().find(|it| it.name() == name);
    known.ok_or_else(|| "it takes sha256 or sha512".to_owned())
}

/// Publishes all files that can be, and then says how many could not. Blocks.
pub(super) fn run(args: &PublishArgs, output: &Output) -> Result<(), Failure> {
    let mut failed = 0;
    for file in &args.files {
        // `potluck publish *`, once more.
        if is_manifest(file) {
            output.hint(&format!("{} is a manifest: left out", file.display()));
            continue;
        }
        match publish(file, args.output.as_deref(), &args.digests) {
            Ok(published) => show(file, &published, output)?,
            Err(error) if args.files.len() == 1 => return Err(Failure::failed(error.to_string())),
            Err(error) => {
                eprintln!("potluck: {error}");
                failed += 1;
            }
        }
    }
    match failed {
        0 => Ok(()),
        1 => Err(Failure::failed("one file was not published: see above")),
        many => {
            let message = format!("{many} files were not published: see above");
            Err(Failure::failed(message))
        }
    }
}

fn show(file: &std::path::Path, published: &Published, output: &Output) -> Result<(), Failure> {
    let manifest = published.manifest.manifest();
    if output.json {
        return output.json_line(&json!({
            "file": file.to_string_lossy(),
            "manifest": published.path.to_string_lossy(),
            "content_id": manifest.id().to_string(),
            "size": manifest.size(),
        }));
    }
    let (path, size) = (published.path.display(), show_size(manifest.size()));
    output.line(&format!("{}  {path}  {size}", manifest.id()))
}
