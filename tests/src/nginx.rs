//! A real web server as the origin.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{Host, Lab, Process, until};

const HTTP: u16 = 8080;
const HTTPS: u16 = 8443;

/// nginx on one host; it stops when dropped.
#[derive(Debug)]
pub struct Nginx {
    address: IpAddr,
    root: PathBuf,
    log: PathBuf,
    ca: PathBuf,
    process: Process,
}

/// One line of its access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who asked.
    pub address: String,
    /// `GET`, `HEAD`…
    pub method: String,
    /// Path and query.
    pub uri: String,
    /// Answer.
    pub status: u16,
    /// Bytes of the body that were sent.
    pub body: u64,
    /// The `Range` header as it came, empty without one.
    pub range: String,
}

impl Nginx {
    /// Starts it on `host`, for HTTP and HTTPS, with an empty document root. Below
    /// `/slow/` it sends the same files at 1 MiB per second and connection;
    /// below `/gzip/` it compresses them for those who want that; below `/named/` it is slow
    /// too and says where the manifest of each file is.
    pub fn start(lab: &Lab, host: &Host) -> Result<Self> {
        let dir = lab.subdir(&format!("nginx-{}", host.name()))?;
        let root = dir.join("root");
        fs::create_dir_all(&root)?;
        let ca = make_certificate(&dir, host.address())?;
        let log = dir.join("access.json");
        let config = dir.join("nginx.conf");
        fs::write(&config, configuration(&dir, &root, &log, host.address()))?;
        let mut command = host.command("nginx");
        command
            .arg("-p")
            .arg(&dir)
            .arg("-e")
            .arg("stderr")
            .arg("-c")
            .arg(&config);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin"));
        let mut process = Process::start(command, &dir.join("nginx.log"))?;
        until(Duration::from_secs(10), "nginx to listen", || {
            if let Some(status) = process.ended()? {
                bail!("nginx ended: {status}: {}", process.output());
            }
            let connected = host.inside(|| std::net::TcpStream::connect((host.address(), HTTP)))?;
            Ok(connected.ok().map(|_| ()))
        })?;
        Ok(Self {
            address: host.address(),
            root,
            log,
            ca,
            process,
        })
    }

    /// Where the files are that it serves.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The plain address of a file below the root.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}:{HTTP}/{path}", self.address)
    }

    /// The same over TLS.
    pub fn https_url(&self, path: &str) -> String {
        format!("https://{}:{HTTPS}/{path}", self.address)
    }

    /// The certificate (PEM) of the authority that signed its own.
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// Process id of its only process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Everything that was asked so far. A request is written down when it has been
    /// answered, so the last one may be missing for a moment.
    pub fn requests(&self) -> Result<Vec<Request>> {
        let text = fs::read_to_string(&self.log).context("the access log")?;
        text.lines().map(parse).collect()
    }

    /// Bytes of bodies that it sent for the requests from number `from` on.
    pub fn body_bytes_since(&self, from: usize) -> Result<u64> {
        Ok(self
            .requests()?
            .iter()
            .skip(from)
            .map(|request| request.body)
            .sum())
    }
}

fn parse(line: &str) -> Result<Request> {
    let value: Value = serde_json::from_str(line).with_context(|| format!("log line {line}"))?;
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    Ok(Request {
        address: text("address"),
        method: text("method"),
        uri: text("uri"),
        status: value["status"].as_u64().context("status")? as u16,
        body: value["body"].as_u64().context("body")?,
        range: text("range"),
    })
}

fn configuration(dir: &Path, root: &Path, log: &Path, address: IpAddr) -> String {
    let (dir, root, log) = (dir.display(), root.display(), log.display());
    // One process in the foreground: it can be killed without leaving workers. `user`
    // keeps it from giving its directories to a user that a user namespace lacks.
    format!(
        r#"user root;
daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    log_format lab escape=json '{{"address":"$remote_addr","method":"$request_method",'
        '"uri":"$request_uri","status":$status,"body":$body_bytes_sent,"range":"$http_range"}}';
    access_log {log} lab;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000;
    server {{
        listen {address}:{HTTP};
        listen {address}:{HTTPS} ssl;
        ssl_certificate {dir}/cert.pem;
        ssl_certificate_key {dir}/key.pem;
        ssl_protocols TLSv1.3;
        ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
        root {root};
        location /gzip/ {{ alias {root}/; gzip on; gzip_types *; gzip_min_length 1; }}
        location /slow/ {{ alias {root}/; limit_rate 1m; }}
        location /named/ {{
            alias {root}/;
            limit_rate 1m;
            add_header Link '<$uri.potluck>; rel="describedby"; type="application/vnd.potluck.manifest"';
        }}
    }}
}}
"#
    )
}

/// Writes an authority and a certificate for the address; the path is the authority's.
fn make_certificate(dir: &Path, address: IpAddr) -> Result<PathBuf> {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "the lab's web authority");
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new([address.to_string()])?.signed_by(&key, &issuer)?;
    let ca = dir.join("ca.pem");
    fs::write(&ca, issuer.pem())?;
    fs::write(dir.join("cert.pem"), certificate.pem())?;
    fs::write(dir.join("key.pem"), key.serialize_pem())?;
    Ok(ca)
}
