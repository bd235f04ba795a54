//! Asking an origin.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use url::Url;

use crate::origin::answer::{check, failure, no_answer, wrong_range};
use crate::origin::answer_fields::{content_range, length};
use crate::origin::encoding::{Coding, Packed, packed};
use crate::origin::redirect::{RedirectChain, is_redirect, method_after};
use crate::origin::roots::RootsError;
use crate::origin::wires::{Wire, Wires};
use crate::origin::{OriginBody, OriginError, OriginMeta, OriginRequest};
use crate::socket::SocketHandle;

/// How origins are asked.
#[derive(Clone, Debug)]
pub struct OriginConfig {
    /// Trust roots beside those of the system: PEM files.
    pub ca_files: Vec<PathBuf>,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long an origin may take from the request to the fields of its answer.
    pub answer_timeout: Duration,
    /// How long an origin may be silent in the middle of a body.
    pub idle_timeout: Duration,
    /// What we call ourselves, unless the job says otherwise.
    pub user_agent: String,
}

impl Default for OriginConfig {
    fn default() -> Self {
        Self {
            ca_files: Vec::new(),
            connect_timeout: Duration::from_secs(15),
            answer_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            user_agent: concat!("potluck/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// A client of all origins, with its pools of connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OriginClient {
    wires: Arc<Wires>,
    config: Arc<OriginConfig>,
}

impl OriginClient {
    /// Reads the trust roots and makes a client.
    ///
    /// # Errors
    /// When a file of trust roots cannot be read. Roots of the system that cannot be
    /// read are left out.
    pub fn new(config: OriginConfig) -> Result<Self, RootsError> {
        Ok(Self {
            wires: Arc::new(Wires::new(&config)?),
            config: Arc::new(config),
        })
    }

    /// Asks what a URL names now: HEAD, and where that is refused or says no length,
    /// a GET of the first byte.
    ///
    /// # Errors
    /// When there is no answer, or none that is of use.
    pub async fn meta(&self, request: &OriginRequest) -> Result<OriginMeta, OriginError> {
        let start = request.url().clone();
        // Other methods may do something: what they bring is seen when it comes.
        if *request.method() != Method::GET {
            return Ok(OriginMeta::unknown(start));
        }
        let (at, answer) = self
            .ask(Method::HEAD, request, start.clone(), HeaderMap::new())
            .await?;
        let mut meta = match answer.status() {
            StatusCode::OK => {
                let meta = OriginMeta::of_answer((start, at), &answer, true)?;
                match meta.size {
                    None if !meta.packed => self.meta_by_get(request).await?,
                    // Some say so to HEAD and send a body to GET. Where there is none
                    // indeed, parts of it need not be asked for.
                    Some(0) => {
                        let by_get = self.meta_by_get(request).await?;
                        if by_get.size == Some(0) { meta } else { by_get }
                    }
                    _ => meta,
                }
            }
            // Signed links refuse HEAD with 403; some frameworks do not route it.
            status if matches!(status.as_u16(), 200..=299 | 400 | 403 | 404 | 405 | 501) => {
                self.meta_by_get(request).await?
            }
            _ => return Err(failure(&at, &answer)),
        };
        meta.shareable &= !request.is_personal();
        Ok(meta)
    }

    async fn meta_by_get(&self, request: &OriginRequest) -> Result<OriginMeta, OriginError> {
        let start = request.url().clone();
        let fields = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static("bytes=0-0"))]);
        let (at, answer) = self
            .ask(Method::GET, request, start.clone(), fields)
            .await?;
        let of = content_range(answer.headers());
        match answer.status() {
            StatusCode::OK => {
                let mut meta = OriginMeta::of_answer((start, at), &answer, true)?;
                meta.ranges = crate::origin::RangeSupport::No;
                Ok(meta)
            }
            StatusCode::PARTIAL_CONTENT if of.is_some_and(|of| of.bytes == Some((0, 0))) => {
                OriginMeta::of_answer((start, at), &answer, false)
            }
            StatusCode::PARTIAL_CONTENT => Err(wrong_range(&at, &(0..1), answer.headers())),
            // An empty file has no first byte.
            StatusCode::RANGE_NOT_SATISFIABLE if of.is_some_and(|of| of.size == Some(0)) => {
                OriginMeta::of_answer((start, at), &answer, false)
            }
            _ => Err(failure(&at, &answer)),
        }
    }

    /// Fetches the whole, or a range of bytes, of exactly the version in `meta`.
    ///
    /// # Errors
    /// [`OriginError::Changed`] when the URL names another version now,
    /// [`OriginError::RangeIgnored`] when the whole came for a range,
    /// [`OriginError::WrongRange`] when another part came, and all other failures.
    pub async fn get(
        &self,
        request: &OriginRequest,
        meta: &OriginMeta,
        range: Option<Range<u64>>,
    ) -> Result<OriginBody, OriginError> {
        let mut fields = HeaderMap::new();
        if let Some(range) = &range {
            let text = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
            fields.insert(
                header::RANGE,
                HeaderValue::try_from(text).expect("plain text"),
            );
            let validator = meta
                .validator
                .as_ref()
                .map(|v| HeaderValue::try_from(v.as_str()));
            if let Some(Ok(validator)) = validator {
                fields.insert(header::IF_RANGE, validator);
            }
        }
        let target = meta.final_url.clone();
        let (mut at, mut answer) = self
            .ask(request.method().clone(), request, target, fields.clone())
            .await?;
        // Links that redirects lead to may be signed and run out: start afresh once.
        if matches!(answer.status().as_u16(), 401 | 403 | 404 | 410)
            && meta.final_url != *request.url()
        {
            (at, answer) = self
                .ask(
                    request.method().clone(),
                    request,
                    request.url().clone(),
                    fields,
                )
                .await?;
        }
        // What another method brings is seen when it comes, and not asked for again.
        let coding = match packed(&at, answer.headers()) {
            Packed::By(coding) => Some(coding),
            Packed::No | Packed::Unknown(_) => None,
        };
        let packed = meta.packed || *request.method() != Method::GET && coding.is_some();
        let expected = check(&at, &answer, meta, range.as_ref(), packed)?;
        Ok(self.body(&at, answer, expected, coding))
    }

    /// Fetches the whole of whatever version there is, and says what its answer says of it.
    ///
    /// # Errors
    /// When there is no answer, or none that is of use.
    pub async fn get_any(
        &self,
        request: &OriginRequest,
    ) -> Result<(OriginMeta, OriginBody), OriginError> {
        let start = request.url().clone();
        let asked = self.ask(Method::GET, request, start.clone(), HeaderMap::new());
        let (at, answer) = asked.await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::PARTIAL_CONTENT => return Err(wrong_range(&at, &(0..0), answer.headers())),
            _ => return Err(failure(&at, &answer)),
        }
        let mut meta = OriginMeta::of_answer((start, at.clone()), &answer, true)?;
        meta.shareable &= !request.is_personal();
        let coding = match packed(&at, answer.headers()) {
            Packed::By(coding) => Some(coding),
            Packed::No | Packed::Unknown(_) => None,
        };
        let expected = length(answer.headers());
        let body = self.body(&at, answer, expected, coding);
        Ok((meta, body))
    }

    pub(super) fn body(
        &self,
        at: &Url,
        answer: Response<Incoming>,
        expected: Option<u64>,
        coding: Option<Coding>,
    ) -> OriginBody {
        let socket = answer.extensions().get::<SocketHandle>().cloned();
        OriginBody::new(
            answer.into_body(),
            at.to_string(),
            expected,
            coding,
            self.config.idle_timeout,
            socket,
        )
    }

    /// Sends one request and follows nothing.
    pub(super) async fn ask_at(
        &self,
        method: Method,
        request: &OriginRequest,
        at: &Url,
    ) -> Result<Response<Incoming>, OriginError> {
        let wire = self.wires.of(request, at).await?;
        self.ask_once(&wire, &method, request, at, HeaderMap::new())
            .await
    }

    /// Sends one request and follows where it leads.
    async fn ask(
        &self,
        mut method: Method,
        request: &OriginRequest,
        start: Url,
        fields: HeaderMap,
    ) -> Result<(Url, Response<Incoming>), OriginError> {
        let mut chain = RedirectChain::new(start, request.options());
        loop {
            let at = chain.at().clone();
            let wire = self.wires.of(request, &at).await?;
            let answer = self.ask_once(&wire, &method, request, &at, fields.clone());
            let answer = answer.await?;
            if !is_redirect(answer.status()) {
                return Ok((at, answer));
            }
            let location = answer.headers().get(header::LOCATION);
            chain.follow(location.and_then(|value| value.to_str().ok()))?;
            method = method_after(answer.status(), &method);
            tracing::debug!(from = %at, to = %chain.at(), "redirected");
        }
    }

    async fn ask_once(
        &self,
        wire: &Wire,
        method: &Method,
        request: &OriginRequest,
        at: &Url,
        fields: HeaderMap,
    ) -> Result<Response<Incoming>, OriginError> {
        let mut message = Request::builder()
            .method(method)
            .uri(at.as_str())
            .body(Empty::<Bytes>::new())
            .map_err(|e| OriginError::BadUrl {
                url: at.to_string(),
                reason: e.to_string(),
            })?;
        let headers = message.headers_mut();
        *headers = request.headers_for(at);
        headers.extend(fields);
        // Bytes as they are on the origin: ranges and digests are of those.
        headers.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        if !headers.contains_key(header::USER_AGENT)
            && let Ok(agent) = HeaderValue::try_from(&self.config.user_agent)
        {
            headers.insert(header::USER_AGENT, agent);
        }
        if !headers.contains_key(header::ACCEPT) {
            headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        }
        // In a tunnel it would reach the origin; there the proxy was told before.
        if at.scheme() == "http"
            && let Ok(Some(hop)) = wire.proxies.hop(message.uri())
            && let Some(authorization) = hop.authorization
        {
            let headers = message.headers_mut();
            headers.insert(header::PROXY_AUTHORIZATION, authorization);
        }
        // The other end may just have closed a connection that was kept for the next
        // request: that says nothing about the origin, and asking again harms nobody.
        match self.send(wire, at, message.clone()).await {
            Err(OriginError::Broken { reason, .. }) if method.is_safe() => {
                tracing::debug!(%at, reason, "asked again");
                self.send(wire, at, message).await
            }
            other => other,
        }
    }

    async fn send(
        &self,
        wire: &Wire,
        at: &Url,
        message: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, OriginError> {
        let limit = self.config.answer_timeout;
        match tokio::time::timeout(limit, wire.http.request(message)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(no_answer(at, &error)),
            Err(_) => Err(OriginError::Timeout {
                url: at.to_string(),
                what: "the answer",
                limit,
            }),
        }
    }
}
