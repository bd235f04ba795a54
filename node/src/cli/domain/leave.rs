//! `potluck domain leave`

use clap::Args;
use clap::builder::FalseyValueParser;
use serde_json::json;

use super::{Here, failed, show};
use crate::api::DomainDocument;
use crate::cli::failure::Failure;

/// `potluck domain leave`
#[derive(Debug, Args)]
pub(in crate::cli) struct LeaveArgs {
    /// Leave even if the domain's authority is lost with this node.
    #[arg(long, env = "POTLUCK_FORCE", value_parser = FalseyValueParser::new(), hide_env_values = true)]
    force: bool,
}

pub(super) async fn run(here: &Here<'_>, args: &LeaveArgs) -> Result<(), Failure> {
    let domain: DomainDocument = match &here.client {
        Some(client) => {
            let wanted = json!({ "force": args.force });
            client.post("/v1/domain/leave", &wanted).await?
        }
        None => {
            potluck_discovery::leave(&here.settings.data_dir, args.force).map_err(failed)?;
            here.domain()?
        }
    };
    show::print(&domain, here.output)
}
