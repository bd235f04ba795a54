//! A node's place in a domain.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use libp2p::PeerId;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SigningKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::certificate_policy::{CertificatePolicy, Leaf};
use crate::domain_id::{DomainId, Fingerprint};
use crate::given_policy::GivenPolicy;
use crate::identity::NodeIdentity;
use crate::name::Name;
use crate::reject_reason::RejectReason;
use crate::secret::BeaconKey;
use crate::tls;

/// A node's place in a domain: its key, its certificate, its authority's
/// certificate and the key of the beacons. It is only ever made of parts that
/// fit together. Cheap to clone.
#[derive(Clone)]
pub struct Membership {
    inner: Arc<Inner>,
}

/// The key of a node, and whom its certificates come from.
enum Kind {
    /// Of a domain that Potluck made.
    Own(NodeIdentity),
    /// Of an authority of the site's own.
    Given {
        key: PrivateKeyDer<'static>,
        policy: GivenPolicy,
    },
}

struct Inner {
    kind: Kind,
    peer_id: PeerId,
    /// What the node shows: its certificate, and what leads from there to the authority.
    chain: Vec<CertificateDer<'static>>,
    authority: CertificateDer<'static>,
    fingerprint: Fingerprint,
    domain_name: Name,
    node_name: Name,
    not_before: SystemTime,
    expires: SystemTime,
    beacon_key: Option<BeaconKey>,
}

impl Membership {
    /// Joins the parts, if they fit: the certificate is the authority's, for
    /// this key and this domain, good for both roles. It may have ended.
    pub(crate) fn new(
        identity: NodeIdentity,
        certificate: CertificateDer<'static>,
        authority: CertificateDer<'static>,
        beacon_key: BeaconKey,
    ) -> Result<Self, RejectReason> {
        let fingerprint = Fingerprint::of(&authority);
        let (node_name, domain_name, not_before, expires) = {
            let leaf = Leaf::parse(&certificate)?;
            if leaf.public_key()? != identity.public_key() {
                return Err(RejectReason::BadSignature);
            }
            let domain_name = Leaf::parse(&authority)?.name();
            (
                leaf.name(),
                domain_name,
                leaf.not_before(),
                leaf.not_after(),
            )
        };
        verify_both_roles(
            &certificate,
            &authority,
            fingerprint.domain_id(),
            not_before,
        )?;
        let chain = vec![certificate, authority.clone()];
        let policy = CertificatePolicy::new(fingerprint.domain_id(), chain[1].clone());
        policy.check(Some(&chain), not_before)?;
        let inner = Inner {
            peer_id: identity.peer_id(),
            kind: Kind::Own(identity),
            chain,
            authority,
            fingerprint,
            domain_name,
            node_name,
            not_before,
            expires,
            beacon_key: Some(beacon_key),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Joins the parts that an authority of the site's own has given, if they fit: the
    /// certificate is for this key, and good for both roles under the policy.
    pub(crate) fn given(
        key: PrivateKeyDer<'static>,
        chain: Vec<CertificateDer<'static>>,
        authority: CertificateDer<'static>,
        policy: GivenPolicy,
        beacon_key: Option<BeaconKey>,
    ) -> Result<Self, RejectReason> {
        let own = chain.first().ok_or(RejectReason::NoCertificate)?;
        let (peer_id, node_name, not_before, expires) = {
            let leaf = Leaf::parse(own)?;
            let name = leaf.given_name(&policy.names)?;
            (leaf.peer_id()?, name, leaf.not_before(), leaf.not_after())
        };
        let domain_name = Leaf::parse(&authority)?.name();
        let inner = Inner {
            kind: Kind::Given { key, policy },
            peer_id,
            fingerprint: Fingerprint::of(&authority),
            domain_name,
            node_name,
            not_before,
            expires,
            beacon_key,
            chain,
            authority,
        };
        let membership = Self {
            inner: Arc::new(inner),
        };
        tls::prove_given(&membership, SystemTime::now())?;
        let policy = membership.policy();
        policy.check(
            Some(&membership.inner.chain),
            not_before.max(SystemTime::now().min(expires)),
        )?;
        Ok(membership)
    }

    /// The name of the domain, as its authority's certificate says.
    #[must_use]
    pub fn domain_name(&self) -> &Name {
        &self.inner.domain_name
    }

    /// The short id of the domain.
    #[must_use]
    pub fn domain_id(&self) -> DomainId {
        self.inner.fingerprint.domain_id()
    }

    /// The fingerprint of the authority's certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.inner.fingerprint
    }

    /// The name of this node, as its certificate says.
    #[must_use]
    pub fn node_name(&self) -> &Name {
        &self.inner.node_name
    }

    /// The id of this node.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.inner.peer_id
    }

    /// When this node's certificate begins to hold.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.inner.not_before
    }

    /// When this node's certificate ends.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        self.inner.expires
    }

    /// The key that seals the domain's beacons; without one there are none.
    #[must_use]
    pub fn beacon_key(&self) -> Option<&BeaconKey> {
        self.inner.beacon_key.as_ref()
    }

    /// This node's certificate, then its authority's.
    #[must_use]
    pub fn certificate_chain(&self) -> &[CertificateDer<'static>] {
        &self.inner.chain
    }

    /// The authority's certificate.
    #[must_use]
    pub fn authority_certificate(&self) -> &CertificateDer<'static> {
        &self.inner.authority
    }

    /// The node's key, if Potluck made it.
    #[must_use]
    pub fn identity(&self) -> Option<&NodeIdentity> {
        match &self.inner.kind {
            Kind::Own(identity) => Some(identity),
            Kind::Given { .. } => None,
        }
    }

    /// The rules of an authority of the site's own, if it is one.
    pub(crate) fn given_policy(&self) -> Option<&GivenPolicy> {
        match &self.inner.kind {
            Kind::Own(_) => None,
            Kind::Given { policy, .. } => Some(policy),
        }
    }

    /// Whether certificate and key come from an authority of the site's own.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.given_policy().is_some()
    }

    /// The key as rustls takes it.
    pub(crate) fn signing_key(&self) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        match &self.inner.kind {
            Kind::Own(identity) => identity.signing_key(),
            Kind::Given { key, .. } => tls::provider()
                .key_provider
                .load_private_key(key.clone_key()),
        }
    }

    /// Whether `other` can take this one's place while the node runs: the same node
    /// in the same domain, with the same names and beacon key.
    pub(crate) fn is_renewed_by(&self, other: &Self) -> bool {
        let (old, new) = (&*self.inner, &*other.inner);
        old.fingerprint == new.fingerprint
            && old.peer_id == new.peer_id
            && old.node_name == new.node_name
            && old.beacon_key == new.beacon_key
    }

    /// What the domain asks of others' certificates.
    #[must_use]
    pub fn policy(&self) -> CertificatePolicy {
        let policy = CertificatePolicy::new(self.domain_id(), self.authority_certificate().clone());
        match self.given_policy() {
            Some(given) => policy.of_given(given.clone()),
            None => policy,
        }
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("domain", self.domain_name())
            .field("domain_id", &self.domain_id())
            .field("node", self.node_name())
            .field("peer_id", &self.peer_id())
            .finish_non_exhaustive()
    }
}

/// Asks the stock verifiers, as both ends of a connection would.
pub(crate) fn verify_both_roles(
    certificate: &CertificateDer<'_>,
    authority: &CertificateDer<'static>,
    domain: DomainId,
    at: SystemTime,
) -> Result<(), RejectReason> {
    let at = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(|_| RejectReason::BadCertificate)?;
    let at = UnixTime::since_unix_epoch(at);
    let roots = Arc::new(tls::roots(authority).map_err(|error| RejectReason::from(&error))?);
    let other =
        |error: rustls::server::VerifierBuilderError| RejectReason::Other(error.to_string());
    let as_server = WebPkiServerVerifier::builder_with_provider(roots.clone(), tls::provider())
        .build()
        .map_err(other)?;
    let as_client = WebPkiClientVerifier::builder_with_provider(roots, tls::provider())
        .build()
        .map_err(other)?;
    as_server
        .verify_server_cert(certificate, &[], &domain.server_name(), &[], at)
        .map_err(|error| RejectReason::from(&error))?;
    as_client
        .verify_client_cert(certificate, &[], at)
        .map_err(|error| RejectReason::from(&error))?;
    Ok(())
}
