//! `[domain]`: an authority of the site's own, and its files.

use std::path::PathBuf;

use potluck_discovery::{GivenFiles, MembershipSource, NamePattern};

use super::settings::Settings;

/// Where certificate, key and authority are, if they are not Potluck's own. The first
/// three go together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DomainSettings {
    /// The node's certificate and those between it and the authority.
    pub certificate_file: Option<PathBuf>,
    /// The node's key.
    pub key_file: Option<PathBuf>,
    /// The authority's certificate.
    pub ca_file: Option<PathBuf>,
    /// The certificates that the authority has revoked.
    pub crl_file: Option<PathBuf>,
    /// DNS names of nodes.
    pub names: Vec<NamePattern>,
    /// The key of the beacons.
    pub beacon_key_file: Option<PathBuf>,
}

impl DomainSettings {
    /// The files, if there are some.
    ///
    /// # Errors
    /// What is missing, and the key that it is missing for.
    pub fn given(&self) -> Result<Option<GivenFiles>, (&'static str, &'static str)> {
        match (&self.certificate_file, &self.key_file, &self.ca_file) {
            (Some(certificate), Some(key), Some(ca)) if !self.names.is_empty() => {
                Ok(Some(GivenFiles {
                    certificate: certificate.clone(),
                    key: key.clone(),
                    ca: ca.clone(),
                    crl: self.crl_file.clone(),
                    names: self.names.clone(),
                    beacon_key: self.beacon_key_file.clone(),
                }))
            }
            (Some(_), Some(_), Some(_)) => Err((
                "domain.names",
                "say which names nodes have, such as [\"*.potluck.example\"]: not every \
                 certificate of the authority is a node's",
            )),
            (None, None, None) => self.nothing_alone().map(|()| None),
            (certificate, key, _) => {
                let missing = match (certificate, key) {
                    (None, _) => "domain.certificate_file",
                    (_, None) => "domain.key_file",
                    _ => "domain.ca_file",
                };
                Err((
                    missing,
                    "certificate_file, key_file and ca_file go together",
                ))
            }
        }
    }

    fn nothing_alone(&self) -> Result<(), (&'static str, &'static str)> {
        let without = "it means nothing without certificate_file, key_file and ca_file";
        if self.crl_file.is_some() {
            Err(("domain.crl_file", without))
        } else if !self.names.is_empty() {
            Err(("domain.names", without))
        } else if self.beacon_key_file.is_some() {
            Err(("domain.beacon_key_file", without))
        } else {
            Ok(())
        }
    }
}

impl Settings {
    /// Where the node's membership comes from.
    #[must_use]
    pub fn membership_source(&self) -> MembershipSource {
        match self.domain.given() {
            Ok(Some(files)) => MembershipSource::Given(files),
            _ => MembershipSource::DataDir(self.data_dir.clone()),
        }
    }

    /// Why this node's domain cannot be changed here, if an authority of the site's own
    /// gives the certificates.
    #[must_use]
    pub fn given_elsewhere(&self) -> Option<String> {
        let ca = self.domain.ca_file.as_ref()?;
        Some(format!(
            "this node's certificate comes from the site's own authority ({}), not from \
             Potluck: make, renew and revoke certificates there",
            ca.display()
        ))
    }
}
