//! What a job asks of an origin.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::origin::{OriginError, OriginOptions, ProxyChoice};

/// Headers that ask for nothing that only this job may see.
const HARMLESS: [HeaderName; 9] = [
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    header::CACHE_CONTROL,
    header::DNT,
    header::FROM,
    header::PRAGMA,
    header::REFERER,
    header::USER_AGENT,
    header::DATE,
];

/// Headers that are the client's own business: a job cannot set them.
const OURS: [HeaderName; 12] = [
    header::ACCEPT_ENCODING,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::RANGE,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A URL with the headers that a job sends along.
#[derive(Clone, Debug)]
pub struct OriginRequest {
    url: Url,
    headers: HeaderMap,
    personal: bool,
    method: Method,
    options: Arc<OriginOptions>,
    owner: Option<u32>,
}

impl OriginRequest {
    /// Reads a URL and custom headers. User name and password in the URL become an
    /// `Authorization` header; the fragment is dropped.
    ///
    /// # Errors
    /// When the URL is not one of http or https, or a header cannot be sent.
    pub fn new(url: &str, custom: &[(String, String)]) -> Result<Self, OriginError> {
        let bad_url = |reason: String| OriginError::BadUrl {
            url: url.to_owned(),
            reason,
        };
        let mut parsed = Url::parse(url.trim()).map_err(|e| bad_url(e.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(bad_url(format!("its scheme is {}", parsed.scheme())));
        }
        parsed.set_fragment(None);
        let mut headers = HeaderMap::new();
        for (name, value) in custom {
            let (name, value) = read_header(name, value)?;
            headers.append(name, value);
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            if !headers.contains_key(header::AUTHORIZATION) {
                headers.insert(header::AUTHORIZATION, basic(&parsed));
            }
            // Cannot fail: an http URL has a host.
            let _ = parsed.set_username("");
            let _ = parsed.set_password(None);
        }
        let personal = headers.keys().any(|name| !HARMLESS.contains(name));
        Ok(Self {
            url: parsed,
            headers,
            personal,
            method: Method::GET,
            options: Arc::default(),
            owner: None,
        })
    }

    /// Sets how the origin is asked, on behalf of which user: files that the options
    /// name are read only where that user may read them.
    ///
    /// # Errors
    /// When the method or the user agent is none that HTTP has.
    pub fn with_options(
        mut self,
        options: Arc<OriginOptions>,
        owner: Option<u32>,
    ) -> Result<Self, OriginError> {
        let bad = |what: &str| OriginError::BadOption {
            what: what.to_owned(),
            reason: "it has characters that HTTP does not carry".to_owned(),
        };
        if let Some(method) = &options.method {
            self.method = Method::from_bytes(method.as_bytes()).map_err(|_| bad("the method"))?;
            if self.method == Method::CONNECT {
                let (what, reason) = ("the method".to_owned(), "it makes a tunnel".to_owned());
                return Err(OriginError::BadOption { what, reason });
            }
        }
        if let Some(agent) = &options.user_agent
            && !self.headers.contains_key(header::USER_AGENT)
        {
            let agent = HeaderValue::from_str(agent).map_err(|_| bad("the user agent"))?;
            self.headers.insert(header::USER_AGENT, agent);
        }
        // What comes by a way that the job chose is the job's: whoever answers there may
        // give other bytes than the origin gives everybody else.
        self.personal |= self.method != Method::GET
            || options.client_certificate.is_some()
            || matches!(options.proxy, ProxyChoice::Url(_))
            || !options.ca_files.is_empty()
            || options.allow_downgrade;
        self.options = options;
        self.owner = owner;
        Ok(self)
    }

    /// The method of requests that fetch.
    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    /// How the origin is asked.
    pub(crate) fn options(&self) -> &OriginOptions {
        &self.options
    }

    /// On whose behalf.
    pub(crate) fn owner(&self) -> Option<u32> {
        self.owner
    }

    /// The URL, without credentials and fragment.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whether the request bears credentials, or headers that may select an answer
    /// that only this job may see.
    #[must_use]
    pub fn is_personal(&self) -> bool {
        self.personal
    }

    /// Whether `target` is at the origin that the job named, reached by the same scheme or a
    /// safer one. What the job has to show is for no other.
    pub(crate) fn is_meant_for(&self, target: &Url) -> bool {
        let same_host = self.url.host_str() == target.host_str();
        let same_port = self.url.port_or_known_default() == target.port_or_known_default();
        let upgraded = self.url.scheme() == "http"
            && target.scheme() == "https"
            && self.url.port().is_none()
            && target.port().is_none();
        same_host && ((same_port && self.url.scheme() == target.scheme()) || upgraded)
    }

    /// The headers that may go to `target`: to another origin only what we call ourselves.
    pub(crate) fn headers_for(&self, target: &Url) -> HeaderMap {
        if self.is_meant_for(target) {
            return self.headers.clone();
        }
        let mut headers = HeaderMap::new();
        if let Some(agent) = self.headers.get(header::USER_AGENT) {
            headers.insert(header::USER_AGENT, agent.clone());
        }
        headers
    }
}

fn read_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), OriginError> {
    let bad = |reason: String| OriginError::BadHeader {
        name: name.to_owned(),
        reason,
    };
    let parsed: HeaderName = name
        .trim()
        .parse()
        .map_err(|_| bad("its name is not one that HTTP has".into()))?;
    if OURS.contains(&parsed) {
        return Err(bad("the transfer sets it itself".into()));
    }
    let mut value = HeaderValue::from_str(value.trim())
        .map_err(|_| bad("its value has characters that HTTP does not carry".into()))?;
    value.set_sensitive(!HARMLESS.contains(&parsed));
    Ok((parsed, value))
}

fn basic(url: &Url) -> HeaderValue {
    let decode = |text: &str| percent_decode(text);
    let mut pair = decode(url.username());
    pair.push(b':');
    pair.extend(decode(url.password().unwrap_or("")));
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair)))
        .expect("base64 is plain text");
    value.set_sensitive(true);
    value
}

fn percent_decode(text: &str) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|b| (*b as char).to_digit(16));
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = (bytes[at] == b'%')
            .then(|| Some((digit(bytes.get(at + 1))?, digit(bytes.get(at + 2))?)))
            .flatten();
        match pair.and_then(|(high, low)| u8::try_from(high * 16 + low).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str, headers: &[(&str, &str)]) -> OriginRequest {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        OriginRequest::new(url, &headers).unwrap()
    }

    #[test]
    fn credentials_leave_the_url() {
        let request = request("http://me:p%40ss@host/a?b#c", &[]);
        assert_eq!(request.url().as_str(), "http://host/a?b");
        assert!(request.is_personal());
        let sent = request.headers_for(request.url());
        assert_eq!(sent[header::AUTHORIZATION], "Basic bWU6cEBzcw==");
    }

    #[test]
    fn custom_headers_go_to_the_named_host_only() {
        let request = request("http://host/a", &[("X-Key", "1"), ("User-Agent", "me")]);
        let sent = |url: &str| request.headers_for(&Url::parse(url).unwrap());
        assert!(sent("http://host/b").contains_key("x-key"));
        assert!(sent("https://host/b").contains_key("x-key"));
        for other in ["http://other/a", "http://host:81/a", "https://host:80/a"] {
            assert!(!sent(other).contains_key("x-key"), "{other}");
            assert_eq!(sent(other)[header::USER_AGENT], "me");
        }
    }

    #[test]
    fn harmless_headers_are_not_personal() {
        assert!(!request("http://h/", &[("User-Agent", "x")]).is_personal());
        assert!(request("http://h/", &[("Cookie", "x")]).is_personal());
        assert!(request("http://h/", &[("X-Variant", "x")]).is_personal());
    }

    #[test]
    fn what_comes_by_a_way_of_the_jobs_own_is_personal() {
        let asked = |options: OriginOptions| {
            let request = request("https://h/", &[]);
            let request = request.with_options(Arc::new(options), None);
            request.unwrap().is_personal()
        };
        assert!(!asked(OriginOptions::default()));
        assert!(asked(OriginOptions {
            proxy: ProxyChoice::Url("http://127.0.0.1:9/".to_owned()),
            ..OriginOptions::default()
        }));
        assert!(asked(OriginOptions {
            ca_files: vec!["/home/a/ca.pem".into()],
            ..OriginOptions::default()
        }));
        assert!(asked(OriginOptions {
            allow_downgrade: true,
            ..OriginOptions::default()
        }));
    }

    #[test]
    fn refuses_what_cannot_be_sent() {
        let headers = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        for (name, value) in [("Range", "bytes=0-1"), ("a b", "c"), ("X", "a\nb")] {
            let refused = OriginRequest::new("http://h/", &headers(name, value));
            assert!(
                matches!(refused, Err(OriginError::BadHeader { .. })),
                "{name}"
            );
        }
        for url in ["ftp://h/", "no url", "file:///etc/passwd"] {
            assert!(matches!(
                OriginRequest::new(url, &[]),
                Err(OriginError::BadUrl { .. })
            ));
        }
    }
}
