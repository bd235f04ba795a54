//! `potluck domain show`

use super::Here;
use crate::api::DomainDocument;
use crate::cli::daemon::show_time;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

pub(super) async fn run(here: &Here<'_>) -> Result<(), Failure> {
    let domain = match &here.client {
        Some(client) => client.get("/v1/domain").await?,
        None => here.domain()?,
    };
    print(&domain, here.output)
}

/// Prints what is known of the domain.
pub(super) fn print(domain: &DomainDocument, output: &Output) -> Result<(), Failure> {
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
        ("authority", authority(domain)),
        (
            "authority",
            domain
                .authority_file
                .as_ref()
                .map(|file| format!("the site's own: {file}")),
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

/// What this node can do with the authority, if it holds it.
fn authority(domain: &DomainDocument) -> Option<String> {
    let key = match domain.authority_key.as_deref()? {
        "locked" => "here, locked: potluck domain unlock, before it can invite and renew",
        "unlocked" => "here, unlocked: this node can invite and renew",
        _ => "here, without a passphrase: this node can invite and renew",
    };
    let others = match domain.authority_others.len() {
        0 => "no other holder is known".to_owned(),
        1 => format!("also held by {}", domain.authority_others[0]),
        count => format!("also held by {count} others"),
    };
    Some(format!("{key}; {others}"))
}
