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
