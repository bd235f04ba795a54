//! `potluck domain renew`

use serde_json::json;

use super::passphrase::PassphraseArgs;
use super::{Here, failed, show};
use crate::api::DomainDocument;
use crate::cli::failure::Failure;
use crate::peering::renewal;

pub(super) async fn run(here: &Here<'_>, args: &PassphraseArgs) -> Result<(), Failure> {
    here.unlock_for_command(args)?;
    show::print(&renew(here).await?, here.output)
}

async fn renew(here: &Here<'_>) -> Result<DomainDocument, Failure> {
    if let Some(client) = &here.client {
        // Looking for a node that holds the authority takes its time.
        let client = client.patient();
        return Ok(client.post("/v1/domain/renew", &json!({})).await?);
    }
    let options = renewal::options(&here.settings);
    let renewing = potluck_discovery::renew(&here.settings.data_dir, &options);
    Box::pin(renewing).await.map_err(failed)?;
    here.domain()
}
