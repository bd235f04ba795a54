//! `potluck doctor`

use super::args::Global;
use super::config::load;
use super::daemon;
use super::embedded::Embedded;
use super::failure::Failure;
use super::job_view::plain;
use super::output::Output;
use crate::doctor::DoctorDocument;

/// Lets the daemon examine itself; where none runs, a node for the length of the test.
pub(super) async fn run(global: &Global, output: &Output) -> Result<(), Failure> {
    let settings = load(global)?.settings;
    let document: DoctorDocument = match daemon::client_if_any(&settings).await? {
        Some(client) => client.post("/v1/doctor", &()).await?,
        None => {
            output.hint("no daemon runs here (potluck node): this is a node for the test alone");
            let embedded = Box::pin(Embedded::start(settings, output)).await?;
            let client = embedded.client().await?;
            let examined = client.post("/v1/doctor", &()).await;
            embedded.stop().await;
            examined?
        }
    };
    if output.json {
        output.json(&document)?;
    } else {
        for found in &document.findings {
            let advice = found
                .advice
                .as_deref()
                .map(|advice| format!(" -> {advice}"));
            output.line(&format!(
                "{:<8} {:<12} {}{}",
                found.health.word(),
                found.check,
                plain(&found.finding),
                advice.unwrap_or_default()
            ))?;
        }
    }
    if document.healthy {
        Ok(())
    } else {
        Err(Failure::failed("something is wrong: see above"))
    }
}
