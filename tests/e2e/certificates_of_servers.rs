//! Who has not the domain's papers is asked nothing on the data port, though it is
//! believed to be a peer.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use potluck_content::ContentId;
use potluck_discovery::{
    DATA_ALPN, Direction, DomainOptions, PeerId, PortKind, RejectReason, Rejected, Revocations,
    Standing, create_domain,
};
use potluck_tests::{Ambush, Host, Lab, Mistake, Papers, mistakes};
use potluck_transfer::{DomainTrust, PeerAddress, PeerClient, PeerError, TrafficCounts};

struct Caller {
    client: PeerClient,
    noted: Arc<Mutex<Vec<Rejected>>>,
}

impl Caller {
    fn new(data_dir: &std::path::Path) -> Result<Self> {
        let membership = create_domain(data_dir, &DomainOptions::new("lab".parse()?))?;
        let noted = Arc::new(Mutex::new(Vec::new()));
        let notes = noted.clone();
        let standing = Standing::new(&membership, Revocations::open(data_dir, &membership)?)?;
        let trust = DomainTrust::noting(standing, move |rejected| {
            notes.lock().expect("nobody panics here").push(rejected);
        });
        Ok(Self {
            client: PeerClient::new(Arc::new(trust), TrafficCounts::default()),
            noted,
        })
    }

    /// Asks whoever shows these papers; the answer is why it was refused.
    async fn asks(&self, host: &Host, papers: &Papers) -> Result<(PeerError, Rejected)> {
        let ambush = Ambush::new(host, 0, DATA_ALPN, papers)?;
        let peer = PeerAddress {
            id: PeerId::random(),
            address: ambush.address(),
        };
        let content = ContentId::of(b"soup");
        let got = self.client.get(peer, &content, 4, 0..4).await;
        let error = got.err().context("it was believed")?;
        let mut noted = self.noted.lock().expect("nobody panics here");
        let rejected = noted.pop().context("nothing was noted")?;
        ensure!(noted.is_empty() && rejected.id == Some(peer.id));
        ensure!(ambush.seen().bytes.is_empty(), "it was told something");
        Ok((error, rejected))
    }
}

#[tokio::test]
async fn every_mistake_is_refused_and_the_reason_is_told() -> Result<()> {
    let lab = Lab::on_loopback()?;
    let (host, dir) = (lab.host("server")?, lab.subdir("domain")?);
    let caller = Caller::new(&dir)?;
    for Mistake {
        name,
        reason,
        papers,
    } in mistakes(&dir)?
    {
        let (error, rejected) = caller.asks(&host, &papers).await.context(name)?;
        let told = rejected.reason.to_string();
        ensure!(told.contains(reason), "{name}: {told}");
        // What time alone brings about is no fault: a renewal heals it.
        let error_for = match rejected.reason {
            RejectReason::Expired | RejectReason::NotYetValid => PeerError::Unreachable,
            _ => PeerError::NotTrusted,
        };
        ensure!(error == error_for(told), "{name}: {error}");
        let place = (rejected.port, rejected.direction);
        ensure!(place == (PortKind::Data, Direction::Outbound), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_member_that_is_not_the_one_who_was_called() -> Result<()> {
    let lab = Lab::on_loopback()?;
    let (host, dir) = (lab.host("server")?, lab.subdir("domain")?);
    let caller = Caller::new(&dir)?;
    let (_, rejected) = caller.asks(&host, &Papers::member(&dir)?).await?;
    ensure!(rejected.reason == RejectReason::WrongPeer, "{rejected:?}");
    Ok(())
}
