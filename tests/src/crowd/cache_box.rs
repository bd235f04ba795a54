//! A cache that a site puts before the origin: nginx on a host of its own.

use std::fs;
use std::net::{IpAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use super::Site;
use crate::{Process, until};

const PORT: u16 = 8080;

/// nginx that keeps what it fetches, in slices of 1 MiB, each fetched once however many
/// want it.
#[derive(Debug)]
pub(super) struct CacheBox {
    address: IpAddr,
    _process: Process,
}

impl CacheBox {
    /// Starts it on a new host that lets out at most `up` bits per second.
    pub(super) fn start(site: &Site<'_>, up: u64) -> Result<Self> {
        let host = site.lab().host("box")?;
        host.limit(up)?;
        let dir = site.lab().subdir("box")?;
        let config = dir.join("nginx.conf");
        fs::write(
            &config,
            configuration(&dir, host.address(), &site.nginx().url("")),
        )?;
        let mut command = host.command("nginx");
        command.arg("-p").arg(&dir).args(["-e", "stderr", "-c"]);
        command.arg(&config);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin"));
        let mut process = Process::start(command, &dir.join("nginx.log"))?;
        until(Duration::from_secs(10), "the cache to listen", || {
            if let Some(status) = process.ended()? {
                bail!("the cache ended: {status}: {}", process.output());
            }
            let connected = host.inside(|| TcpStream::connect((host.address(), PORT)))?;
            Ok(connected.ok().map(|_| ()))
        })?;
        Ok(Self {
            address: host.address(),
            _process: process,
        })
    }

    /// Below which the origin's files are.
    pub(super) fn url(&self) -> String {
        format!("http://{}:{PORT}/", self.address)
    }
}

fn configuration(dir: &Path, address: IpAddr, origin: &str) -> String {
    let dir = dir.display();
    // One process in the foreground, as the origin's.
    format!(
        "user root;
daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000;
    proxy_cache_path {dir}/cache levels=1:2 keys_zone=crowd:16m max_size=10g inactive=1h
        use_temp_path=off;
    server {{
        listen {address}:{PORT};
        location / {{
            slice 1m;
            proxy_cache crowd;
            proxy_cache_key $uri$slice_range;
            proxy_cache_valid 200 206 1h;
            proxy_cache_lock on;
            proxy_set_header Range $slice_range;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_pass {origin};
        }}
    }}
}}
"
    )
}
