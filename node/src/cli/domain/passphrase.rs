//! Passphrases of an authority's key: where they are read from, and `potluck domain
//! unlock`, `lock` and `passphrase`.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::FalseyValueParser;
use potluck_discovery::{
    KeyState, Passphrase, change_passphrase, lock_authority, unlock_authority,
};
use serde_json::json;
use zeroize::Zeroizing;

use super::{Here, failed, show};
use crate::api::DomainDocument;
use crate::cli::failure::Failure;

/// More bytes than any passphrase has.
const MAX_FILE: u64 = 4096;

/// Where the passphrase comes from when the authority is locked and no daemon runs.
#[derive(Debug, Args)]
pub(in crate::cli) struct PassphraseArgs {
    /// Read the authority's passphrase from this file, - for standard input, instead of
    /// the terminal.
    #[arg(
        long,
        value_name = "FILE",
        env = "POTLUCK_PASSPHRASE_FILE",
        hide_env_values = true
    )]
    passphrase_file: Option<PathBuf>,
}

/// `potluck domain passphrase`
#[derive(Debug, Args)]
pub(in crate::cli) struct ChangeArgs {
    /// Read the present passphrase from this file, - for standard input.
    #[arg(
        long,
        value_name = "FILE",
        env = "POTLUCK_PASSPHRASE_FILE",
        hide_env_values = true
    )]
    passphrase_file: Option<PathBuf>,
    /// Read the new passphrase from this file, - for standard input.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "remove",
        env = "POTLUCK_NEW_PASSPHRASE_FILE",
        hide_env_values = true
    )]
    new_passphrase_file: Option<PathBuf>,
    /// Leave the key without a passphrase.
    #[arg(long, env = "POTLUCK_REMOVE", value_parser = FalseyValueParser::new(), hide_env_values = true)]
    remove: bool,
}

pub(super) async fn unlock(here: &Here<'_>, args: &PassphraseArgs) -> Result<(), Failure> {
    let Some(client) = &here.client else {
        return Err(Failure::failed(
            "no daemon runs here that could be given the key: start potluck node first; \
             commands without a daemon ask for the passphrase themselves",
        ));
    };
    let passphrase = read(args.passphrase_file.as_deref(), "passphrase")?;
    let wanted = json!({ "passphrase": passphrase.expose() });
    let domain: DomainDocument = client.post("/v1/domain/authority/unlock", &wanted).await?;
    show::print(&domain, here.output)
}

pub(super) async fn lock(here: &Here<'_>) -> Result<(), Failure> {
    let domain = match &here.client {
        Some(client) => client.post("/v1/domain/authority/lock", &json!({})).await?,
        None => {
            // Nobody holds the key; says so where there is none to lock.
            lock_authority(&here.settings.data_dir).map_err(failed)?;
            here.domain()?
        }
    };
    show::print(&domain, here.output)
}

pub(super) async fn change(here: &Here<'_>, args: &ChangeArgs) -> Result<(), Failure> {
    let present = match here.key_state()? {
        Some(KeyState::Unprotected) => None,
        Some(_) => Some(read(args.passphrase_file.as_deref(), "present passphrase")?),
        None => {
            return Err(Failure::failed(
                "this node does not hold the authority of a domain",
            ));
        }
    };
    let next = match args.remove {
        true => None,
        false => Some(read_new(args.new_passphrase_file.as_deref())?),
    };
    let domain = match &here.client {
        Some(client) => {
            let wanted = json!({
                "present": present.as_ref().map(Passphrase::expose),
                "next": next.as_ref().map(Passphrase::expose),
            });
            client
                .post("/v1/domain/authority/passphrase", &wanted)
                .await?
        }
        None => {
            let data_dir = &here.settings.data_dir;
            change_passphrase(data_dir, present.as_ref(), next.as_ref()).map_err(failed)?;
            here.domain()?
        }
    };
    show::print(&domain, here.output)
}

impl Here<'_> {
    /// Unlocks the authority for this command, where no daemon does the work and it is
    /// locked.
    pub(super) fn unlock_for_command(&self, args: &PassphraseArgs) -> Result<(), Failure> {
        if self.client.is_some() || self.key_state()? != Some(KeyState::Locked) {
            return Ok(());
        }
        let file = args.passphrase_file.as_deref();
        if file.is_none() && !std::io::stdin().is_terminal() {
            // What is tried next says that it is locked.
            return Ok(());
        }
        let passphrase = read(file, "passphrase")?;
        unlock_authority(&self.settings.data_dir, &passphrase).map_err(failed)
    }

    /// Whether the key of the authority that lives here can be used by this process.
    fn key_state(&self) -> Result<Option<KeyState>, Failure> {
        let status = potluck_discovery::show(&self.settings.data_dir).map_err(failed)?;
        Ok(status.authority.map(|authority| authority.key))
    }
}

/// A new passphrase: from a file, or typed twice.
pub(super) fn read_new(file: Option<&Path>) -> Result<Passphrase, Failure> {
    let first = read(file, "new passphrase")?;
    if file.is_none() {
        let again = read(None, "once more")?;
        if first.expose() != again.expose() {
            return Err(Failure::usage(
                "the two passphrases differ: nothing was changed",
            ));
        }
    }
    Ok(first)
}

fn read(file: Option<&Path>, what: &str) -> Result<Passphrase, Failure> {
    let text = match file {
        Some(file) => read_file(file)?,
        None => Zeroizing::new(rpassword::prompt_password(format!("{what}: ")).map_err(
            |error| {
                Failure::usage(format!(
                    "no terminal to ask for the {what} on ({error}): use --passphrase-file"
                ))
            },
        )?),
    };
    Passphrase::new(text).map_err(|error| Failure::usage(error.to_string()))
}

/// The first line of a file.
fn read_file(file: &Path) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::new());
    let read = if file == Path::new("-") {
        std::io::stdin().take(MAX_FILE).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text))
    };
    read.map_err(|error| {
        let path = file.display();
        Failure::failed(format!("cannot read the passphrase from {path}: {error}"))
    })?;
    let line = text.lines().next().unwrap_or_default();
    Ok(Zeroizing::new(line.to_owned()))
}
