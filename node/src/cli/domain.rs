//! `potluck domain`: through the daemon, which then takes part at once; without one on
//! the data directory itself.

mod create;
mod invite;
mod join;
mod leave;
mod offline;
mod passphrase;
mod renew;
mod revoke;
mod show;

use clap::Subcommand;
use potluck_discovery::Name;

use passphrase::PassphraseArgs;

use super::args::Global;
use super::config::load;
use super::daemon;
use super::failure::Failure;
use super::output::Output;
use crate::api::DomainDocument;
use crate::client::Client;
use crate::config::Settings;

/// `potluck domain`
#[derive(Debug, Subcommand)]
pub(super) enum DomainCommand {
    /// Make a domain, with this node as its first member and its authority.
    Create(create::CreateArgs),
    /// Show the domain that this node is in.
    Show,
    /// Make a code with which another node joins.
    Invite(invite::InviteArgs),
    /// Join a domain.
    Join(join::JoinArgs),
    /// Turn a node out of the domain, for good and everywhere.
    Revoke(revoke::RevokeArgs),
    /// List the nodes that were turned out.
    Revoked,
    /// Get a new certificate for this node now.
    Renew(PassphraseArgs),
    /// Write a request for a certificate to a file, for an authority that is kept
    /// off-line.
    Request(offline::RequestArgs),
    /// Sign such a request where the authority is.
    Sign(offline::SignArgs),
    /// Leave the domain: this node's key and certificate go, the cache stays.
    Leave(leave::LeaveArgs),
    /// Give the running daemon the key of an authority that has a passphrase.
    Unlock(PassphraseArgs),
    /// Make the running daemon forget the key again.
    Lock,
    /// Give the authority's key a passphrase, another one, or none.
    Passphrase(passphrase::ChangeArgs),
}

/// What every command of this kind works with.
struct Here<'a> {
    settings: Settings,
    /// The daemon, if one runs.
    client: Option<Client>,
    output: &'a Output,
}

pub(super) async fn run(
    global: &Global,
    command: &DomainCommand,
    output: &Output,
) -> Result<(), Failure> {
    let settings = load(global)?.settings;
    let client = daemon::client_if_any(&settings).await?;
    let here = Here {
        settings,
        client,
        output,
    };
    let only_shows = matches!(command, DomainCommand::Show);
    if let Some(elsewhere) = here.settings.given_elsewhere().filter(|_| !only_shows) {
        return Err(failed(elsewhere));
    }
    match command {
        DomainCommand::Create(args) => create::run(&here, args).await,
        DomainCommand::Show => show::run(&here).await,
        DomainCommand::Invite(args) => invite::run(&here, args).await,
        DomainCommand::Join(args) => join::run(&here, args).await,
        DomainCommand::Revoke(args) => revoke::revoke(&here, args).await,
        DomainCommand::Revoked => revoke::list(&here).await,
        DomainCommand::Renew(args) => renew::run(&here, args).await,
        DomainCommand::Request(args) => offline::request(&here, args).await,
        DomainCommand::Sign(args) => offline::sign(&here, args).await,
        DomainCommand::Leave(args) => leave::run(&here, args).await,
        DomainCommand::Unlock(args) => passphrase::unlock(&here, args).await,
        DomainCommand::Lock => passphrase::lock(&here).await,
        DomainCommand::Passphrase(args) => passphrase::change(&here, args).await,
    }
}

impl Here<'_> {
    /// What the data directory says of the domain.
    fn domain(&self) -> Result<DomainDocument, Failure> {
        DomainDocument::read(&self.settings, None).map_err(failed)
    }

    /// What this node is to be called.
    fn node_name(&self) -> Name {
        match self.settings.peering.node_name.as_str() {
            "" => Name::of_this_machine(),
            name => Name::nearest(name),
        }
    }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::failed(error.to_string())
}
