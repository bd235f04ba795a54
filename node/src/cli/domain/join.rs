//! `potluck domain join`

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use potluck_discovery::{JoinCode, JoinCodeError, JoinOptions, accept_answer};
use serde_json::json;

use super::{Here, failed, offline, show};
use crate::api::DomainDocument;
use crate::cli::failure::Failure;
use crate::peering::seek_config;

/// Longer texts than this are no codes, in bytes.
const MAX_CODE: u64 = 4096;

/// `potluck domain join`
#[derive(Debug, Args)]
pub(in crate::cli) struct JoinArgs {
    /// The code that the other node printed, in as many words as you like; - reads it
    /// from standard input, where other users of this machine cannot see it.
    #[arg(required_unless_present = "answer", num_args = 1..)]
    code: Vec<String>,
    /// Join, or renew, with the answer that potluck domain sign gave to this node's
    /// request; - for standard input.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "code",
        env = "POTLUCK_ANSWER",
        hide_env_values = true
    )]
    answer: Option<PathBuf>,
}

pub(super) async fn run(here: &Here<'_>, args: &JoinArgs) -> Result<(), Failure> {
    if let Some(file) = &args.answer {
        return accept(here, file).await;
    }
    let code = match args.code.as_slice() {
        [one] if one == "-" => read_code()?,
        words => words.join(" "),
    };
    let domain = join(here, code.trim()).await?;
    show::print(&domain, here.output)?;
    if domain.authority {
        here.output.hint(
            "this node now holds the authority of the domain: it lets nodes in and renews \
             their certificates; give its key a passphrase with potluck domain passphrase",
        );
    }
    if here.client.is_none() {
        here.output.hint("potluck node takes part in it");
    }
    Ok(())
}

async fn accept(here: &Here<'_>, file: &Path) -> Result<(), Failure> {
    let answer = offline::read(file)?;
    let domain: DomainDocument = match &here.client {
        Some(client) => {
            let wanted = json!({ "answer": answer });
            client.post("/v1/domain/answer", &wanted).await?
        }
        None => {
            accept_answer(&here.settings.data_dir, &answer).map_err(failed)?;
            here.domain()?
        }
    };
    show::print(&domain, here.output)?;
    here.output
        .hint("compare the fingerprint with what potluck domain show says where it was signed");
    Ok(())
}

async fn join(here: &Here<'_>, code: &str) -> Result<DomainDocument, Failure> {
    // A mistyped code is told without troubling anybody.
    let parsed: JoinCode = code
        .parse()
        .map_err(|error: JoinCodeError| Failure::usage(error.to_string()))?;
    if let Some(client) = &here.client {
        // Looking for the inviting node takes its time.
        let client = client.patient();
        let wanted = json!({ "code": code });
        return Ok(client.post("/v1/domain/join", &wanted).await?);
    }
    let options = JoinOptions {
        seek: seek_config(&here.settings.peering),
        ..JoinOptions::new(here.node_name())
    };
    let joining = potluck_discovery::join(&here.settings.data_dir, &parsed, &options);
    Box::pin(joining).await.map_err(failed)?;
    here.domain()
}

fn read_code() -> Result<String, Failure> {
    let mut code = String::new();
    std::io::stdin()
        .take(MAX_CODE)
        .read_to_string(&mut code)
        .map_err(|error| Failure::failed(format!("cannot read the code: {error}")))?;
    Ok(code)
}
