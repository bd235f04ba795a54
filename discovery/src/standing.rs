//! What a node shows and asks at its two ports, and whom it turns away there, as it is
//! at the moment.

use std::sync::Arc;
use std::time::SystemTime;

use libp2p::PeerId;
use tokio::sync::watch;

use crate::given_policy::CertificateId;
use crate::membership::Membership;
use crate::notary::Notary;
use crate::revocations::Revocations;
use crate::tls::PortTls;

/// This node's standing in its domain: the TLS set-up of both ports, and the
/// revocations that they go by. Clones see a change at once, so a renewed certificate counts from the next handshake on and
/// nothing that runs is disturbed.
#[derive(Clone, Debug)]
pub struct Standing {
    current: Arc<watch::Sender<Current>>,
    revocations: Revocations,
}

#[derive(Clone, Debug)]
struct Current {
    membership: Membership,
    control: PortTls,
    data: PortTls,
    notary: Arc<Notary>,
}

/// Waits for a standing to change.
pub(crate) struct StandingChanges(watch::Receiver<Current>);

impl StandingChanges {
    /// Waits for the next change. Safe to cancel.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// A membership does not take the place of another one.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// It is another domain, node, name or beacon key: everything begins anew.
    #[error("the membership is another one, not a renewed one")]
    Another,
    /// Its certificate and key cannot be used.
    #[error("the certificate of this node cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

impl Standing {
    /// The standing that a membership gives among those who were not revoked.
    ///
    /// # Errors
    /// When its certificate and key cannot be used.
    pub fn new(membership: &Membership, revocations: Revocations) -> Result<Self, rustls::Error> {
        let current = Current::of(membership, &revocations)?;
        Ok(Self {
            revocations,
            current: Arc::new(watch::Sender::new(current)),
        })
    }

    /// Takes a renewed membership for all connections from now on.
    ///
    /// # Errors
    /// When it is not of the same node in the same domain, or cannot be used; the old
    /// one stays then.
    pub fn renew(&self, membership: &Membership) -> Result<(), RenewError> {
        if !self.membership().is_renewed_by(membership) {
            return Err(RenewError::Another);
        }
        let renewed = Current::of(membership, &self.revocations)?;
        self.current.send_replace(renewed);
        Ok(())
    }

    /// Waits until the authority has revoked a certificate, by its own lists. Returns at
    /// once if it has; never if this standing is given up.
    pub async fn until_revoked(&self, certificate: &CertificateId) {
        let mut current = self.current.subscribe();
        let revoked = current.wait_for(|current| current.data.has_revoked(certificate));
        if revoked.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Follows the changes of this standing.
    pub(crate) fn changes(&self) -> StandingChanges {
        StandingChanges(self.current.subscribe())
    }

    /// The membership in use.
    #[must_use]
    pub fn membership(&self) -> Membership {
        self.current.borrow().membership.clone()
    }

    /// When this node's certificate ends.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        self.current.borrow().membership.expires()
    }

    /// The TLS set-up of the control port. To be asked for each handshake.
    #[must_use]
    pub fn control(&self) -> PortTls {
        self.current.borrow().control.clone()
    }

    /// The TLS set-up of the data port. To be asked for each handshake.
    #[must_use]
    pub fn data(&self) -> PortTls {
        self.current.borrow().data.clone()
    }

    /// What this node signs with, and proves others with.
    pub(crate) fn notary(&self) -> Arc<Notary> {
        Arc::clone(&self.current.borrow().notary)
    }

    /// Who was revoked.
    #[must_use]
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// The id of this node.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.current.borrow().membership.peer_id()
    }
}

impl Current {
    fn of(membership: &Membership, revocations: &Revocations) -> Result<Self, rustls::Error> {
        let (control, data) = PortTls::both(membership, revocations)?;
        Ok(Self {
            control,
            data,
            notary: Arc::new(Notary::of(membership, revocations)?),
            membership: membership.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::authority::Authority;
    use crate::identity::NodeIdentity;

    #[test]
    fn only_the_same_node_of_the_same_domain_renews_it() {
        let (name, day) = ("site".parse().unwrap(), Duration::from_secs(24 * 3600));
        let now = SystemTime::now();
        let authority = Authority::create(&name, day, now).unwrap();
        let member = |authority: &Authority, identity: &NodeIdentity, at| {
            let certificate = authority.issue(identity.public_key(), &name, at).unwrap();
            let (ca, key) = (authority.certificate().clone(), authority.beacon_key());
            Membership::new(identity.clone(), certificate, ca, key.clone()).unwrap()
        };
        let me = NodeIdentity::generate().unwrap();
        let first = member(&authority, &me, now);
        let standing = Standing::new(&first, Revocations::in_memory(&first)).unwrap();
        let before = standing.expires();
        let (clone, later) = (standing.clone(), now + day / 2);
        standing.renew(&member(&authority, &me, later)).unwrap();
        assert!(clone.expires() > before + day / 3, "clones see it too");
        let other = NodeIdentity::generate().unwrap();
        let refused = standing.renew(&member(&authority, &other, later));
        assert!(matches!(refused, Err(RenewError::Another)));
        let elsewhere = Authority::create(&name, day, now).unwrap();
        let refused = standing.renew(&member(&elsewhere, &me, later));
        assert!(matches!(refused, Err(RenewError::Another)));
        assert_eq!(standing.peer_id(), me.peer_id());
    }
}
