//! `potluck domain`: through the daemon, which then takes part at once; without one on
//! the data directory itself.

use std::time::Duration;

use clap::Subcommand;
use potluck_discovery::{DomainOptions, InviteOptions, JoinCode, JoinOptions, Name};
use serde_json::json;

use super::args::Global;
use super::config::load;
use super::daemon::{self, show_time};
use super::failure::Failure;
use super::output::Output;
use crate::api::{DomainDocument, InvitationDocument};
use crate::client::Client;
use crate::config::Settings;
use crate::peering::join_address;
use crate::timestamp::rfc3339;

/// `potluck domain`
#[derive(Debug, Subcommand)]
pub(super) enum DomainCommand {
    /// Make a domain, with this node as its first member and its authority.
    Create {
        /// The name of the domain.
        name: Name,
        /// How long the certificates of nodes hold: 60s to 825d.
        #[arg(long, value_name = "D", value_parser = daemon::duration, env = "POTLUCK_CERTIFICATE_LIFETIME", hide_env_values = true)]
        certificate_lifetime: Option<Duration>,
    },
    /// Show the domain that this node is in.
    Show,
    /// Make a code with which another node joins.
    Invite {
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
    },
    /// Join a domain.
    Join {
        /// The code that the other node printed.
        code: String,
    },
}

pub(super) async fn run(
    global: &Global,
    command: &DomainCommand,
    output: &Output,
) -> Result<(), Failure> {
    let settings = load(global)?.settings;
    let client = daemon::client_if_any(&settings).await?;
    let client = client.as_ref();
    match command {
        DomainCommand::Create {
            name,
            certificate_lifetime,
        } => {
            let domain = create(&settings, client, name, *certificate_lifetime).await?;
            show(&domain, output)?;
            if !output.json {
                output.hint("next: potluck domain invite, for each node that is to join");
            }
        }
        DomainCommand::Show => show(&current(&settings, client).await?, output)?,
        DomainCommand::Invite { expires, uses } => {
            let invitation = invite(&settings, client, *expires, *uses).await?;
            say(&invitation, output)?;
            if client.is_none() {
                output.hint("nobody can join until potluck node runs here: it answers them");
            }
        }
        DomainCommand::Join { code } => {
            let domain = join(&settings, client, code).await?;
            show(&domain, output)?;
            if client.is_none() {
                output.hint("potluck node takes part in it");
            }
        }
    }
    Ok(())
}

async fn create(
    settings: &Settings,
    client: Option<&Client>,
    name: &Name,
    lifetime: Option<Duration>,
) -> Result<DomainDocument, Failure> {
    if let Some(client) = client {
        let wanted = json!({
            "name": name,
            "certificate_lifetime_seconds": lifetime.map(|lifetime| lifetime.as_secs()),
        });
        return Ok(client.post("/v1/domain", &wanted).await?);
    }
    let mut options = DomainOptions::new(name.clone());
    options.node_name = node_name(settings);
    options.certificate_lifetime = lifetime.unwrap_or(options.certificate_lifetime);
    potluck_discovery::create_domain(&settings.data_dir, &options).map_err(failed)?;
    here(settings)
}

async fn current(settings: &Settings, client: Option<&Client>) -> Result<DomainDocument, Failure> {
    match client {
        Some(client) => Ok(client.get("/v1/domain").await?),
        None => here(settings),
    }
}

async fn invite(
    settings: &Settings,
    client: Option<&Client>,
    expires_in: Duration,
    uses: u32,
) -> Result<InvitationDocument, Failure> {
    if let Some(client) = client {
        let wanted = json!({ "expires_in_seconds": expires_in.as_secs(), "uses": uses });
        return Ok(client.post("/v1/domain/invitations", &wanted).await?);
    }
    let listen = join_address(settings.peering.listen);
    let options = InviteOptions {
        expires_in,
        uses,
        addresses: potluck_discovery::join_addresses(listen),
    };
    let code = potluck_discovery::invite(&settings.data_dir, &options).map_err(failed)?;
    Ok(InvitationDocument {
        code: code.to_text(),
        expires: rfc3339(code.expires()),
        uses,
    })
}

async fn join(
    settings: &Settings,
    client: Option<&Client>,
    code: &str,
) -> Result<DomainDocument, Failure> {
    // A mistyped code is told without troubling anybody.
    let parsed: JoinCode = code
        .trim()
        .parse()
        .map_err(|error: potluck_discovery::JoinCodeError| Failure::usage(error.to_string()))?;
    if let Some(client) = client {
        // Looking for the inviting node takes its time.
        let client = client.patient();
        let wanted = json!({ "code": code.trim() });
        return Ok(client.post("/v1/domain/join", &wanted).await?);
    }
    let options = JoinOptions::new(node_name(settings));
    let joining = potluck_discovery::join(&settings.data_dir, &parsed, &options);
    Box::pin(joining).await.map_err(failed)?;
    here(settings)
}

fn here(settings: &Settings) -> Result<DomainDocument, Failure> {
    let status = potluck_discovery::show(&settings.data_dir).map_err(failed)?;
    Ok(DomainDocument::of(&status, None))
}

fn node_name(settings: &Settings) -> Name {
    match settings.peering.node_name.as_str() {
        "" => Name::of_this_machine(),
        name => Name::nearest(name),
    }
}

fn say(invitation: &InvitationDocument, output: &Output) -> Result<(), Failure> {
    if output.json {
        return output.json(invitation);
    }
    output.line(&invitation.code)?;
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

fn show(domain: &DomainDocument, output: &Output) -> Result<(), Failure> {
    if output.json {
        return output.json(domain);
    }
    if !domain.member {
        output.line("this node is in no domain")?;
    }
    let rows = [
        ("domain", domain.name.clone()),
        ("id", domain.id.clone()),
        ("fingerprint", domain.fingerprint.clone()),
        ("node", domain.node.clone()),
        ("peer id", domain.peer_id.clone()),
        (
            "certificate",
            domain
                .certificate_expires
                .as_deref()
                .map(|at| format!("until {}", show_time(at))),
        ),
        (
            "authority",
            domain
                .authority
                .then(|| "here: this node can invite".to_owned()),
        ),
        ("trouble", domain.trouble.clone()),
    ];
    for (key, value) in rows {
        if let Some(value) = value {
            output.line(&format!("{key:<12} {value}"))?;
        }
    }
    Ok(())
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::failed(error.to_string())
}
