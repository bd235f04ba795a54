//! Proxies on the way to origins.
//!
//! To an `http` URL a proxy is asked for the URL itself (RFC 9112, section 3.2.2); to an
//! `https` URL it is asked for a tunnel (RFC 9110, section 9.3.6), so it sees no more
//! than the name of the host. A SOCKS proxy makes a connection for either.

use std::fmt;
use std::sync::Arc;

use http::header::HeaderValue;
use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::origin::connector::ConnectError;
use crate::origin::socks::Socks;
use crate::origin::{OriginError, ProxyChoice};

/// The longest answer of a proxy that is about to become a tunnel, in bytes.
const LONGEST_ANSWER: usize = 16 << 10;
/// Fields of such an answer that are read at most.
const MOST_FIELDS: usize = 64;
/// Where proxies listen that do not say so.
const DEFAULT_PORT: u16 = 80;
const DEFAULT_SOCKS_PORT: u16 = 1080;

/// Which proxy stands before which origin.
#[derive(Clone)]
pub(crate) struct Proxies(Option<Arc<Matcher>>);

/// A proxy that is to be asked.
pub(crate) struct Hop {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What it wants to know before it does anything.
    pub(crate) authorization: Option<HeaderValue>,
    /// Where it is no proxy for HTTP.
    pub(crate) socks: Option<Socks>,
}

impl Proxies {
    /// # Errors
    /// When the text is no URL of a proxy.
    pub(crate) fn new(choice: &ProxyChoice) -> Result<Self, OriginError> {
        match choice {
            ProxyChoice::None => Ok(Self(None)),
            ProxyChoice::Environment => Ok(Self(Some(Arc::new(Matcher::from_env())))),
            ProxyChoice::Url(url) => {
                let proxies = Self(Some(Arc::new(Matcher::builder().all(url.as_str()).build())));
                let probe = Uri::from_static("http://origin/");
                match proxies.hop(&probe) {
                    Ok(Some(_)) => Ok(proxies),
                    Ok(None) => Err(bad_proxy("it is no URL".to_owned())),
                    Err(error) => Err(bad_proxy(error.to_string())),
                }
            }
        }
    }

    /// The proxy before `target`, if there is one.
    ///
    /// # Errors
    /// When it speaks what we do not.
    pub(crate) fn hop(&self, target: &Uri) -> Result<Option<Hop>, ConnectError> {
        let Some(found) = self
            .0
            .as_ref()
            .and_then(|proxies| proxies.intercept(target))
        else {
            return Ok(None);
        };
        let uri = found.uri();
        let host = uri.host().unwrap_or_default().to_owned();
        let scheme = uri.scheme_str().unwrap_or("http");
        let default = match scheme {
            "http" => DEFAULT_PORT,
            _ => DEFAULT_SOCKS_PORT,
        };
        let port = uri.port_u16().unwrap_or(default);
        let login = found.raw_auth();
        let login = login.map(|(name, password)| (name.to_owned(), password.to_owned()));
        let socks = match scheme {
            "http" => None,
            "socks5" | "socks5h" => Some(Socks {
                login,
                resolves: scheme == "socks5h",
            }),
            _ => {
                return Err(ConnectError::Proxy {
                    proxy: format!("{host}:{port}"),
                    status: None,
                    reason: format!(
                        "its URL begins with {scheme}: only http://, socks5:// and socks5h:// \
                         proxies are spoken to"
                    ),
                });
            }
        };
        Ok(Some(Hop {
            host,
            port,
            authorization: found.basic_auth().cloned(),
            socks,
        }))
    }
}

fn bad_proxy(reason: String) -> OriginError {
    // The URL may bear a password: it is not repeated.
    OriginError::BadOption {
        what: "the proxy".to_owned(),
        reason,
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proxies(..)")
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Hop {
    /// Asks the proxy for a tunnel to `target` (host and port).
    ///
    /// # Errors
    /// When it refuses, or answers what is no HTTP.
    pub(crate) async fn tunnel<S>(&self, stream: &mut S, target: &str) -> Result<(), ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let failed = |status: Option<u16>, reason: String| ConnectError::Proxy {
            proxy: self.to_string(),
            status,
            reason,
        };
        let mut question = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            question.extend_from_slice(b"Proxy-Authorization: ");
            question.extend_from_slice(authorization.as_bytes());
            question.extend_from_slice(b"\r\n");
        }
        question.extend_from_slice(b"\r\n");
        let broken = |error: std::io::Error| failed(None, error.to_string());
        stream.write_all(&question).await.map_err(broken)?;
        let mut answer = Vec::new();
        // Byte by byte: what follows the answer is not ours to read.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= LONGEST_ANSWER {
                return Err(failed(None, "its answer does not end".to_owned()));
            }
            answer.push(stream.read_u8().await.map_err(broken)?);
        }
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut parsed = httparse::Response::new(&mut fields);
        let status = match parsed.parse(&answer) {
            Ok(_) => parsed.code,
            Err(error) => return Err(failed(None, format!("its answer is no HTTP: {error}"))),
        };
        match status {
            Some(200..=299) => Ok(()),
            Some(status) => Err(failed(Some(status), format!("it answered {status}"))),
            None => Err(failed(None, "its answer has no status".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(url: &str) -> Result<Proxies, OriginError> {
        Proxies::new(&ProxyChoice::Url(url.to_owned()))
    }

    #[test]
    fn a_proxy_is_named_by_its_url() {
        let target = Uri::from_static("https://o/f");
        let hop = proxies("http://me:p%40ss@proxy:3128").unwrap();
        let hop = hop.hop(&target).unwrap().unwrap();
        assert_eq!(hop.to_string(), "proxy:3128");
        assert_eq!(hop.authorization.unwrap(), "Basic bWU6cEBzcw==");
        let hop = proxies("socks5://me:p%40ss@proxy").unwrap();
        let hop = hop.hop(&target).unwrap().unwrap();
        assert_eq!(hop.to_string(), "proxy:1080");
        assert!(hop.authorization.is_none());
        let login = hop.socks.unwrap().login.unwrap();
        assert_eq!(login, ("me".to_owned(), "p@ss".to_owned()));
        let hop = proxies("proxy").unwrap().hop(&target).unwrap().unwrap();
        assert_eq!(hop.to_string(), "proxy:80");
        let none = Proxies::new(&ProxyChoice::None).unwrap();
        assert!(none.hop(&target).unwrap().is_none());
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_its_password() {
        for url in [
            "",
            "http://",
            "socks4://u:secret@p:1",
            "https://u:secret@p:1",
        ] {
            let refused = proxies(url).unwrap_err();
            assert_eq!(refused.code(), "bad_option");
            assert!(!refused.to_string().contains("secret"), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_tunnel_is_asked_for_and_may_be_refused() {
        for (answer, status) in [
            ("HTTP/1.1 200 Connection established\r\n\r\n", Ok(())),
            (
                "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n",
                Err(Some(407)),
            ),
            ("SSH-2.0\r\n\r\n", Err(None)),
            ("HTTP/1.1 200", Err(None)),
        ] {
            let (mut near, mut far) = tokio::io::duplex(1 << 16);
            far.write_all(answer.as_bytes()).await.unwrap();
            far.shutdown().await.unwrap();
            let hop = proxies("http://u:p@proxy:3128").unwrap();
            let hop = hop.hop(&Uri::from_static("https://o/")).unwrap().unwrap();
            let outcome = hop
                .tunnel(&mut near, "o:443")
                .await
                .map_err(|error| match error {
                    ConnectError::Proxy { status, .. } => status,
                    other => panic!("{other}"),
                });
            assert_eq!(outcome, status, "{answer}");
            drop(near);
            let mut asked = String::new();
            far.read_to_string(&mut asked).await.unwrap();
            assert!(asked.starts_with("CONNECT o:443 HTTP/1.1\r\n"), "{asked}");
            assert!(
                asked.contains("Proxy-Authorization: Basic dTpw\r\n"),
                "{asked}"
            );
        }
    }
}
