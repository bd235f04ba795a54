//! `potluck domain create`

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;
use potluck_discovery::{DomainOptions, Name, Passphrase};
use serde_json::json;

use super::passphrase::read_new;
use super::{Here, failed, show};
use crate::api::DomainDocument;
use crate::cli::daemon;
use crate::cli::failure::Failure;

/// `potluck domain create`
#[derive(Debug, Args)]
pub(in crate::cli) struct CreateArgs {
    /// The name of the domain.
    name: Name,
    /// How long the certificates of nodes hold: 60s to 825d.
    #[arg(long, value_name = "D", value_parser = daemon::duration, env = "POTLUCK_CERTIFICATE_LIFETIME", hide_env_values = true)]
    certificate_lifetime: Option<Duration>,
    /// Ask for a passphrase that protects the authority's key.
    #[arg(long, env = "POTLUCK_PASSPHRASE", value_parser = FalseyValueParser::new(), hide_env_values = true)]
    passphrase: bool,
    /// Read that passphrase from this file, - for standard input.
    #[arg(
        long,
        value_name = "FILE",
        env = "POTLUCK_PASSPHRASE_FILE",
        hide_env_values = true
    )]
    passphrase_file: Option<PathBuf>,
}

pub(super) async fn run(here: &Here<'_>, args: &CreateArgs) -> Result<(), Failure> {
    show::print(&create(here, args).await?, here.output)?;
    if !here.output.json {
        here.output
            .hint("next: potluck domain invite, for each node that is to join");
    }
    Ok(())
}

async fn create(here: &Here<'_>, args: &CreateArgs) -> Result<DomainDocument, Failure> {
    let passphrase = match (&args.passphrase_file, args.passphrase) {
        (None, false) => None,
        (file, _) => Some(read_new(file.as_deref())?),
    };
    if let Some(client) = &here.client {
        let wanted = json!({
            "name": args.name,
            "passphrase": passphrase.as_ref().map(Passphrase::expose),
            "certificate_lifetime_seconds": args.certificate_lifetime.map(|life| life.as_secs()),
        });
        return Ok(client.post("/v1/domain", &wanted).await?);
    }
    let mut options = DomainOptions::new(args.name.clone());
    options.node_name = here.node_name();
    options.passphrase = passphrase;
    options.certificate_lifetime = args
        .certificate_lifetime
        .unwrap_or(options.certificate_lifetime);
    potluck_discovery::create_domain(&here.settings.data_dir, &options).map_err(failed)?;
    here.domain()
}
