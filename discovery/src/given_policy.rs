//! What is asked of certificates when the authority is not Potluck's own.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls_pki_types::CertificateRevocationListDer;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use crate::name_pattern::NamePattern;

/// The authority has other customers than nodes, so that a certificate of it makes a node
/// only by its name, and it revokes by lists of its own.
#[derive(Debug, Clone)]
pub(crate) struct GivenPolicy {
    /// A node's certificate bears a name that fits one of these.
    pub(crate) names: Vec<NamePattern>,
    /// The certificates that the authority's lists name.
    revoked: Arc<BTreeSet<CertificateId>>,
    lists: Vec<CertificateRevocationListDer<'static>>,
}

/// Names one certificate of any authority: the issuer as encoded, and the serial number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificateId {
    pub(crate) issuer: Vec<u8>,
    pub(crate) serial: Vec<u8>,
}

impl GivenPolicy {
    /// `None` when a list cannot be read.
    pub(crate) fn new(
        names: Vec<NamePattern>,
        lists: Vec<CertificateRevocationListDer<'static>>,
    ) -> Option<Self> {
        let mut revoked = BTreeSet::new();
        for list in &lists {
            let (_, list) = CertificateRevocationList::from_der(list).ok()?;
            let issuer = list.issuer().as_raw();
            for entry in list.iter_revoked_certificates() {
                revoked.insert(CertificateId {
                    issuer: issuer.to_vec(),
                    serial: entry.raw_serial().to_vec(),
                });
            }
        }
        Some(Self {
            names,
            revoked: Arc::new(revoked),
            lists,
        })
    }

    pub(crate) fn is_revoked(&self, certificate: &CertificateId) -> bool {
        self.revoked.contains(certificate)
    }

    /// The lists as rustls takes them.
    pub(crate) fn lists(&self) -> Vec<CertificateRevocationListDer<'static>> {
        self.lists.clone()
    }
}
