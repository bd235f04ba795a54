//! Connections to origins, kept apart where they are made in different ways.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use url::Url;

use crate::origin::client_files::{ClientFile, Version};
use crate::origin::connector::SocketConnector;
use crate::origin::proxy::Proxies;
use crate::origin::roots::{RootsError, roots};
use crate::origin::{ClientCertificate, OriginConfig, OriginError, OriginRequest, ProxyChoice};

/// Ways to make connections that are kept. One that is not asked for any more goes, with
/// the connections that are idle in it.
const MOST_WIRES: usize = 32;

/// Makes connections in one way, and keeps those that are idle.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    pub(crate) http: Client<HttpsConnector<SocketConnector>, Empty<Bytes>>,
    pub(crate) proxies: Proxies,
}

/// Everything that makes a connection what it is.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Way {
    proxy: ProxyChoice,
    ca_files: Vec<PathBuf>,
    certificate: Option<ClientCertificate>,
    /// On whose behalf the files are read.
    owner: Option<u32>,
    /// Which files these were: a renewed certificate is another one.
    versions: Vec<Version>,
}

/// All connections to origins.
#[derive(Debug)]
pub(crate) struct Wires {
    connect_timeout: Duration,
    roots: RootCertStore,
    usual: Wire,
    /// The one that was asked for last is last.
    others: Mutex<VecDeque<(Way, Wire)>>,
}

impl Wires {
    /// Reads the trust roots. Blocks.
    pub(crate) fn new(config: &OriginConfig) -> Result<Self, RootsError> {
        let roots = roots(&config.ca_files)?;
        let proxies = Proxies::new(&ProxyChoice::Environment).expect("takes what there is");
        let tls = tls_builder(roots.clone()).with_no_client_auth();
        Ok(Self {
            connect_timeout: config.connect_timeout,
            usual: wire(tls, proxies, config.connect_timeout),
            roots,
            others: Mutex::default(),
        })
    }

    /// The connections that a request may use on its way to `at`: the job's certificate is
    /// for the origin that the job named.
    ///
    /// # Errors
    /// When a file that it names cannot be used, or may not be read on its behalf.
    pub(crate) async fn of(
        self: &Arc<Self>,
        request: &OriginRequest,
        at: &Url,
    ) -> Result<Wire, OriginError> {
        let options = request.options();
        let certificate = options.client_certificate.as_ref();
        let certificate = certificate.filter(|_| request.is_meant_for(at));
        let mut way = Way {
            proxy: options.proxy.clone(),
            ca_files: options.ca_files.clone(),
            certificate: certificate.cloned(),
            ..Way::default()
        };
        if way == Way::default() {
            return Ok(self.usual.clone());
        }
        way.owner = request.owner();
        let wires = Arc::clone(self);
        let found = tokio::task::spawn_blocking(move || wires.find(way)).await;
        found.map_err(|error| OriginError::BadOption {
            what: "the way to the origin".to_owned(),
            reason: error.to_string(),
        })?
    }

    /// Opens the files anew each time, with the rights of who asks now. Blocks.
    fn find(&self, mut way: Way) -> Result<Wire, OriginError> {
        let certificate = way.certificate.iter();
        let pair = certificate.flat_map(|c| [&c.certificate_file, &c.key_file]);
        let paths: Vec<&Path> = way.ca_files.iter().chain(pair).map(|p| &**p).collect();
        let files = ClientFile::open(&paths, way.owner)?;
        way.versions = files.iter().map(ClientFile::version).collect();
        let known = self.with_others(|others| {
            let place = others.iter().position(|(known, _)| *known == way)?;
            let (way, wire) = others.remove(place)?;
            others.push_back((way, wire.clone()));
            Some(wire)
        });
        if let Some(wire) = known {
            return Ok(wire);
        }
        // Others need not wait for what is read now.
        let wire = self.make(&way, &files)?;
        self.with_others(|others| {
            others.push_back((way, wire.clone()));
            if others.len() > MOST_WIRES {
                others.pop_front();
            }
        });
        Ok(wire)
    }

    fn with_others<T>(&self, look: impl FnOnce(&mut VecDeque<(Way, Wire)>) -> T) -> T {
        look(&mut self.others.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn make(&self, way: &Way, files: &[ClientFile]) -> Result<Wire, OriginError> {
        let (authorities, pair) = files.split_at(way.ca_files.len().min(files.len()));
        let bad = |file: &ClientFile, error: rustls::Error| OriginError::BadOption {
            what: file.path().display().to_string(),
            reason: error.to_string(),
        };
        let mut roots = self.roots.clone();
        for file in authorities {
            for certificate in file.certificates()? {
                roots.add(certificate).map_err(|error| bad(file, error))?;
            }
        }
        let tls = tls_builder(roots);
        let tls = match pair {
            [certificate, key] => {
                let tls = tls.with_client_auth_cert(certificate.certificates()?, key.key()?);
                tls.map_err(|error| bad(key, error))?
            }
            _ => tls.with_no_client_auth(),
        };
        Ok(wire(tls, Proxies::new(&way.proxy)?, self.connect_timeout))
    }
}

fn tls_builder(
    roots: RootCertStore,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has what TLS 1.2 and 1.3 need")
        .with_root_certificates(roots)
}

fn wire(tls: ClientConfig, proxies: Proxies, connect_timeout: Duration) -> Wire {
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(SocketConnector::new(connect_timeout, proxies.clone()));
    let http = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .http2_initial_stream_window_size(4 << 20)
        .http2_initial_connection_window_size(16 << 20)
        .build(connector);
    Wire { http, proxies }
}
