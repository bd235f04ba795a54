//! The self-test: what one runs when the others are not found. Looks at clock,
//! certificate, ports, multicast and neighbours in the order in which one stands on
//! the other, and says of each in one line what is so and what to do.

mod certificate;
mod clock;
mod finding;
mod links;
mod neighbours;
mod ports;
mod reachability;

use std::time::{Duration, SystemTime};

pub use finding::{DoctorDocument, Finding, Health};

use certificate::Origin;
use potluck_discovery::Membership;

use crate::api::State;

/// How long others may take to answer the question for peers: their answers are
/// spread over a tenth of a second, and a call or two must come about.
const LISTEN: Duration = Duration::from_millis(1_500);

/// Examines a running node. Takes two to five seconds.
pub async fn examine(state: &State) -> DoctorDocument {
    let mut findings = Vec::new();
    let discovery = state.peering.discovery();
    if let Some(discovery) = &discovery {
        discovery.need_peers();
    }
    let (links, ()) = tokio::join!(
        links::examine(&state.settings.peering),
        tokio::time::sleep(LISTEN)
    );
    let now = SystemTime::now();
    let membership = state.peering.membership();
    let heard = discovery.as_ref().map(|discovery| discovery.beacon_stats());
    findings.extend(clock::examine(membership.as_ref(), heard.as_ref(), now));
    findings.extend(certificates(state, membership.as_ref(), now).await);
    findings.extend(ports::examine(state).await);
    findings.extend(links);
    match &discovery {
        Some(discovery) => {
            let settings = &state.settings.peering;
            findings.extend(reachability::examine(settings, discovery).await);
            findings.extend(neighbours::examine(state, discovery, now).await);
        }
        None => findings.push(no_discovery(state)),
    }
    DoctorDocument::of(findings)
}

/// The certificate, and the files it is in if they are the site's own.
async fn certificates(
    state: &State,
    membership: Option<&Membership>,
    now: SystemTime,
) -> Vec<Finding> {
    // The settings were checked at the start.
    let Ok(Some(files)) = state.settings.domain.given() else {
        return vec![certificate::examine(membership, Origin::Domain, now)];
    };
    let shown = certificate::examine(membership, Origin::Files, now);
    let known = membership.cloned();
    let looked =
        tokio::task::spawn_blocking(move || certificate::examine_files(&files, known.as_ref()));
    std::iter::once(shown).chain(looked.await.ok()).collect()
}

fn no_discovery(state: &State) -> Finding {
    const CHECK: &str = "peers";
    if !state.settings.peering.enabled {
        return Finding::skipped(CHECK, "peering.enabled is false: there are no peers");
    }
    match (state.peering.trouble(), state.peering.membership()) {
        (Some(trouble), _) => Finding::failed(CHECK, trouble, "see the lines above"),
        (None, None) => Finding::skipped(CHECK, "without a domain there are no peers"),
        (None, Some(_)) => Finding::failed(
            CHECK,
            "this node does not look for peers",
            "see the daemon's log",
        ),
    }
}
