//! `potluck domain invite`

use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;
use potluck_discovery::InviteOptions;
use serde_json::json;

use super::passphrase::PassphraseArgs;
use super::{Here, failed};
use crate::api::InvitationDocument;
use crate::cli::daemon::{self, show_time};
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::peering::join_address;
use crate::timestamp::rfc3339;

/// `potluck domain invite`
#[derive(Debug, Args)]
pub(in crate::cli) struct InviteArgs {
    /// How long the code holds: 1s to 90d.
    #[arg(long, value_name = "D", value_parser = daemon::duration, default_value = "1d", env = "POTLUCK_EXPIRES", hide_env_values = true)]
    expires: Duration,
    /// How many nodes may join by it.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        env = "POTLUCK_USES",
        hide_env_values = true
    )]
    uses: u32,
    /// Leave this node's addresses out: a shorter code, for a node on the same subnet.
    #[arg(long, env = "POTLUCK_NO_ADDRESSES", value_parser = FalseyValueParser::new(), hide_env_values = true)]
    no_addresses: bool,
    /// Give the joining node the authority's key too: it can then invite, renew and
    /// revoke as this one can, for ever.
    #[arg(long, env = "POTLUCK_AUTHORITY", value_parser = FalseyValueParser::new(), hide_env_values = true)]
    authority: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

pub(super) async fn run(here: &Here<'_>, args: &InviteArgs) -> Result<(), Failure> {
    here.unlock_for_command(&args.passphrase)?;
    say(&invite(here, args).await?, here.output)?;
    if here.client.is_none() {
        here.output
            .hint("nobody can join until potluck node runs here: it answers them");
    }
    Ok(())
}

async fn invite(here: &Here<'_>, args: &InviteArgs) -> Result<InvitationDocument, Failure> {
    if let Some(client) = &here.client {
        let wanted = json!({
            "expires_in_seconds": args.expires.as_secs(),
            "uses": args.uses,
            "no_addresses": args.no_addresses,
            "authority": args.authority,
        });
        return Ok(client.post("/v1/domain/invitations", &wanted).await?);
    }
    let listen = join_address(here.settings.peering.listen);
    let options = InviteOptions {
        expires_in: args.expires,
        uses: args.uses,
        authority: args.authority,
        addresses: match args.no_addresses {
            true => Vec::new(),
            false => potluck_discovery::join_addresses(listen),
        },
    };
    let code = potluck_discovery::invite(&here.settings.data_dir, &options).map_err(failed)?;
    Ok(InvitationDocument {
        code: code.to_text(),
        expires: rfc3339(code.expires()),
        uses: args.uses,
        authority: args.authority,
    })
}

fn say(invitation: &InvitationDocument, output: &Output) -> Result<(), Failure> {
    if output.json {
        return output.json(invitation);
    }
    output.line(&invitation.code)?;
    if invitation.authority {
        output.hint(
            "CAREFUL: who joins by this code gets the key of the authority itself, and can \
             invite and revoke anybody from then on; that cannot be taken back, except by \
             making a new domain",
        );
    }
    let nodes = match invitation.uses {
        1 => "one node".to_owned(),
        uses => format!("{uses} nodes"),
    };
    output.hint(&format!(
        "for {nodes}, until {}; there: potluck domain join CODE",
        show_time(&invitation.expires)
    ));
    Ok(())
}
