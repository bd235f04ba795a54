//! `potluck peers`

use clap::Args;

use super::args::Global;
use super::config::load;
use super::daemon::{self, show_time};
use super::failure::Failure;
use super::job_view::plain;
use super::output::Output;
use crate::api::{PeerDocument, RejectedDocument, StatusDocument};
use crate::client::Client;
use crate::config::show_size;

/// `potluck peers`
#[derive(Debug, Args)]
pub(super) struct PeersArgs {
    /// Those who were refused, with the reasons.
    #[arg(long, env = "POTLUCK_REJECTED", value_parser = clap::builder::FalseyValueParser::new(), hide_env_values = true)]
    rejected: bool,
}

pub(super) async fn run(global: &Global, args: &PeersArgs, output: &Output) -> Result<(), Failure> {
    let settings = load(global)?.settings;
    let client = daemon::client(&settings).await?;
    if args.rejected {
        rejected(&client, output).await
    } else {
        list(&client, output).await
    }
}

async fn list(client: &Client, output: &Output) -> Result<(), Failure> {
    let peers: Vec<PeerDocument> = client.get("/v1/peers").await?;
    if output.json {
        return output.json(&peers);
    }
    let rows: Vec<Vec<String>> = peers
        .iter()
        .map(|peer| {
            vec![
                plain(&peer.name),
                peer.address.clone(),
                show_time(&peer.since),
                show_time(&peer.certificate_expires),
                show_size(peer.bytes_from),
                show_size(peer.bytes_to),
                peer.id.clone(),
            ]
        })
        .collect();
    let headings = [
        "name",
        "address",
        "since",
        "certificate until",
        "from",
        "to",
        "id",
    ];
    output.table(&headings, &rows)?;
    if peers.is_empty() {
        let status: StatusDocument = client.get("/v1/status").await?;
        output.hint(&match (status.trouble, status.domain) {
            (Some(trouble), _) => trouble,
            (None, Some(domain)) => format!("nobody else of the domain {domain} is here"),
            (None, None) => {
                "this node is in no domain: potluck domain create NAME, or potluck domain join CODE"
                    .to_owned()
            }
        });
    }
    Ok(())
}

async fn rejected(client: &Client, output: &Output) -> Result<(), Failure> {
    let rejected: Vec<RejectedDocument> = client.get("/v1/peers/rejected").await?;
    if output.json {
        return output.json(&rejected);
    }
    let rows: Vec<Vec<String>> = rejected
        .iter()
        .map(|refused| {
            let name = refused.name.as_ref().or(refused.id.as_ref());
            vec![
                show_time(&refused.at),
                refused.address.clone(),
                name.map(|name| plain(name)).unwrap_or_default(),
                format!("{} {}", refused.direction, refused.port),
                refused.count.to_string(),
                plain(&refused.reason),
            ]
        })
        .collect();
    let headings = [
        "last",
        "address",
        "calls itself",
        "connection",
        "times",
        "reason",
    ];
    output.table(&headings, &rows)
}
