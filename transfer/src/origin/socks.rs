//! SOCKS 5 proxies (RFC 1928, RFC 1929): they carry bytes, whatever these are.

use std::future::{Ready, ready};
use std::io;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper_util::client::legacy::connect::proxy::SocksV5;
use hyper_util::rt::TokioIo;
use tower_service::Service;

use crate::origin::connector::ConnectError;
use crate::origin::proxy::Hop;
use crate::socket::SharedStream;

/// What a SOCKS proxy is told.
#[derive(Clone)]
pub(crate) struct Socks {
    /// Who asks: name and password.
    pub(crate) login: Option<(String, String)>,
    /// Whether names of hosts are left to the proxy: `socks5h`.
    pub(crate) resolves: bool,
}

/// A connection that is there already.
struct Opened(Option<SharedStream>);

impl Service<Uri> for Opened {
    type Response = TokioIo<SharedStream>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let stream = self.0.take().map(TokioIo::new);
        ready(stream.ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

impl Socks {
    /// Asks the proxy at the other end of `stream` for a connection to `host`.
    ///
    /// # Errors
    /// When it refuses, or speaks something else.
    pub(crate) async fn connect(
        &self,
        hop: &Hop,
        stream: SharedStream,
        (host, port): (&str, u16),
    ) -> Result<SharedStream, ConnectError> {
        let failed = |reason: String| ConnectError::Proxy {
            proxy: hop.to_string(),
            status: None,
            reason,
        };
        let target = match self.resolves || host.parse::<std::net::IpAddr>().is_ok() {
            true => uri(host, port),
            false => {
                let unknown = |reason: String| ConnectError::Resolve {
                    host: host.to_owned(),
                    reason,
                };
                let found = tokio::net::lookup_host((host, port)).await;
                let mut found = found.map_err(|error| unknown(error.to_string()))?;
                let address = found.next();
                let address = address.ok_or_else(|| unknown("it has no address".to_owned()))?;
                uri(&address.ip().to_string(), port)
            }
        };
        let target = target.map_err(|error| failed(error.to_string()))?;
        let mut proxy = SocksV5::new(Uri::from_static("socks5://proxy"), Opened(Some(stream)));
        if let Some((name, password)) = self.login.clone() {
            proxy = proxy.with_auth(name, password);
        }
        let connected = proxy.call(target).await;
        let connected = connected.map_err(|error| failed(error.to_string()))?;
        Ok(connected.into_inner())
    }
}

fn uri(host: &str, port: u16) -> Result<Uri, http::Error> {
    let authority = match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let uri = Uri::builder().scheme("http").authority(authority);
    uri.path_and_query("/").build()
}
