//! Whom to believe that a server is the one it says.

use std::path::PathBuf;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// A trust root that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// A file of trust roots cannot be read.
    #[error("cannot read trust roots from {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The roots of the system and those in the files.
pub(crate) fn roots(ca_files: &[PathBuf]) -> Result<RootCertStore, RootsError> {
    let mut store = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::debug!(%error, "a trust root of the system was left out");
    }
    store.add_parsable_certificates(native.certs);
    for path in ca_files {
        let bad = |reason: String| RootsError::File {
            path: path.clone(),
            reason,
        };
        let certificates = CertificateDer::pem_file_iter(path).map_err(|e| bad(e.to_string()))?;
        let before = store.len();
        for certificate in certificates {
            let certificate = certificate.map_err(|e| bad(e.to_string()))?;
            store.add(certificate).map_err(|e| bad(e.to_string()))?;
        }
        if store.len() == before {
            return Err(bad("there is no certificate in it".to_owned()));
        }
    }
    Ok(store)
}
