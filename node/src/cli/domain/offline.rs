//! `potluck domain request` and `potluck domain sign`, for an authority that no network
//! reaches.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::FalseyValueParser;
use potluck_discovery::{SigningRequest, make_request, sign_request};
use serde_json::json;

use super::passphrase::PassphraseArgs;
use super::{Here, failed};
use crate::api::{AnswerDocument, RequestDocument};
use crate::cli::failure::Failure;
use crate::cli::job_view::plain;

/// The longest file that is read: requests and answers have some 2 KiB.
const MAX_FILE: u64 = 1 << 20;

/// `potluck domain request`
#[derive(Debug, Args)]
pub(in crate::cli) struct RequestArgs {
    /// Write the request to this file instead of standard output.
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "POTLUCK_OUTPUT",
        hide_env_values = true
    )]
    output: Option<PathBuf>,
}

/// `potluck domain sign`
#[derive(Debug, Args)]
pub(in crate::cli) struct SignArgs {
    /// The file that potluck domain request made; - for standard input.
    request: PathBuf,
    /// Write the answer to this file instead of standard output.
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "POTLUCK_OUTPUT",
        hide_env_values = true
    )]
    output: Option<PathBuf>,
    /// Sign without asking.
    #[arg(short, long, env = "POTLUCK_YES", value_parser = FalseyValueParser::new(), hide_env_values = true)]
    yes: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

pub(super) async fn request(here: &Here<'_>, args: &RequestArgs) -> Result<(), Failure> {
    let document: RequestDocument = match &here.client {
        Some(client) => client.post("/v1/domain/request", &json!({})).await?,
        None => {
            let name = here.node_name();
            let text = make_request(&here.settings.data_dir, &name).map_err(failed)?;
            RequestDocument::of(text).map_err(failed)?
        }
    };
    write(args.output.as_deref(), &document.request)?;
    if here.output.json {
        return here.output.json(&document);
    }
    if args.output.is_none() {
        here.output.raw(document.request.as_bytes())?;
    }
    here.output.hint(&format!(
        "for {}, peer id {}; where the authority is: potluck domain sign FILE",
        document.node, document.peer_id
    ));
    Ok(())
}

pub(super) async fn sign(here: &Here<'_>, args: &SignArgs) -> Result<(), Failure> {
    let text = read(&args.request)?;
    let request = SigningRequest::parse(&text)
        .map_err(|error| Failure::failed(format!("{}: {error}", args.request.display())))?;
    if !args.yes {
        confirm(&request)?;
    }
    here.unlock_for_command(&args.passphrase)?;
    let document: AnswerDocument = match &here.client {
        Some(client) => {
            let wanted = json!({ "request": text });
            client.post("/v1/domain/sign", &wanted).await?
        }
        None => {
            let answer = sign_request(&here.settings.data_dir, &request).map_err(failed)?;
            AnswerDocument::of(answer, &request)
        }
    };
    write(args.output.as_deref(), &document.answer)?;
    if here.output.json {
        return here.output.json(&document);
    }
    if args.output.is_none() {
        here.output.raw(document.answer.as_bytes())?;
    }
    here.output.hint(&format!(
        "signed for {}, peer id {}; there: potluck domain join --answer FILE",
        plain(&document.node),
        document.peer_id
    ));
    Ok(())
}

/// A small file, or standard input.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(MAX_FILE).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))?;
    Ok(text)
}

fn write(path: Option<&Path>, text: &str) -> Result<(), Failure> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, text)
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))
}

/// Asks whether this is the node that is meant.
fn confirm(request: &SigningRequest) -> Result<(), Failure> {
    let who = format!("{}, peer id {}", request.name(), request.peer_id());
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "the request is of {who}: compare it with what the node says, then sign with --yes"
        )));
    }
    eprintln!("The request is of {who}.");
    eprint!("Is this what potluck domain request said on that node? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::failed("nothing was signed")),
    }
}
