//! `potluck domain revoke` and `potluck domain revoked`

use clap::Args;
use potluck_discovery::{Membership, Revocations};
use serde_json::json;

use super::passphrase::PassphraseArgs;
use super::{Here, failed};
use crate::cli::daemon::show_time;
use crate::cli::failure::Failure;
use crate::cli::job_view::plain;
use crate::revocation::{self, RevocationDocument, RevocationsDocument};

/// `potluck domain revoke`
#[derive(Debug, Args)]
pub(in crate::cli) struct RevokeArgs {
    /// The node: its peer id, the first letters of it, or its name if no other node in
    /// sight bears it.
    node: String,
    /// Why, for those who look after the nodes.
    #[arg(
        long,
        value_name = "TEXT",
        env = "POTLUCK_REASON",
        hide_env_values = true
    )]
    reason: Option<String>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

pub(super) async fn revoke(here: &Here<'_>, args: &RevokeArgs) -> Result<(), Failure> {
    here.unlock_for_command(&args.passphrase)?;
    let revoked = revoke_node(here, args).await?;
    if here.output.json {
        return here.output.json(&revoked);
    }
    here.output
        .line(&format!("revoked {} {}", plain(&revoked.name), revoked.id))?;
    if here.client.is_none() {
        here.output
            .hint("the other nodes hear of it when potluck node runs here");
    }
    Ok(())
}

async fn revoke_node(here: &Here<'_>, args: &RevokeArgs) -> Result<RevocationDocument, Failure> {
    if let Some(client) = &here.client {
        let wanted = json!({ "node": args.node, "reason": args.reason });
        return Ok(client.post("/v1/domain/revocations", &wanted).await?);
    }
    let reason = args.reason.as_deref().unwrap_or_default();
    revocation::revoke(&open(here)?, &args.node, reason, &[]).map_err(failed)
}

pub(super) async fn list(here: &Here<'_>) -> Result<(), Failure> {
    let revoked: RevocationsDocument = match &here.client {
        Some(client) => client.get("/v1/domain/revocations").await?,
        None => RevocationsDocument::of(&open(here)?.current()),
    };
    if here.output.json {
        return here.output.json(&revoked);
    }
    let row = |node: &RevocationDocument| {
        let reason = node.reason.as_deref().unwrap_or_default();
        vec![
            show_time(&node.revoked_at),
            plain(&node.name),
            plain(reason),
            node.id.clone(),
        ]
    };
    let rows: Vec<_> = revoked.nodes.iter().map(row).collect();
    here.output
        .table(&["revoked", "name", "reason", "id"], &rows)
}

/// What is kept on the disk.
fn open(here: &Here<'_>) -> Result<Revocations, Failure> {
    let data_dir = &here.settings.data_dir;
    let membership = Membership::load(data_dir).map_err(failed)?;
    let membership = membership.ok_or_else(|| failed("this node is in no domain"))?;
    Revocations::open(data_dir, &membership).map_err(failed)
}
