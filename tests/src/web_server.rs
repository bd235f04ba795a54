//! Web servers that others wrote, serving a directory.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::{Host, Lab, Process, until};

const PORT: u16 = 8081;

/// A web server on one host; it stops when dropped.
#[derive(Debug)]
pub struct WebServer {
    address: SocketAddr,
    root: PathBuf,
    _process: Process,
}

impl WebServer {
    /// Apache. Below `/packed/` it sends the same files compressed, whatever the client
    /// wants; below `/deflate/` only to those who want that.
    pub fn apache(lab: &Lab, host: &Host) -> Result<Self> {
        let (dir, root) = places(lab, host, "apache")?;
        let config = dir.join("apache.conf");
        fs::write(&config, apache_configuration(&dir, &root, host.address()))?;
        let mut command = host.command("apache2");
        command.arg("-d").arg(&dir).arg("-f").arg(&config);
        command.args(["-D", "FOREGROUND"]);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin"));
        Self::start(command, host, root, &dir)
    }

    /// The one that comes with Python: no ranges, no entity tags, HTTP/1.0.
    pub fn python(lab: &Lab, host: &Host) -> Result<Self> {
        let (dir, root) = places(lab, host, "python")?;
        let mut command = host.command("python3");
        command.args(["-m", "http.server", "--bind"]);
        command.arg(host.address().to_string());
        command.arg("--directory").arg(&root).arg(PORT.to_string());
        Self::start(command, host, root, &dir)
    }

    fn start(command: Command, host: &Host, root: PathBuf, dir: &Path) -> Result<Self> {
        let address = SocketAddr::new(host.address(), PORT);
        let mut process = Process::start(command, &dir.join("server.log"))?;
        until(Duration::from_secs(20), "the web server to listen", || {
            if let Some(status) = process.ended()? {
                bail!("the web server ended: {status}: {}", process.output());
            }
            Ok(host.inside(|| TcpStream::connect(address))?.ok().map(drop))
        })?;
        Ok(Self {
            address,
            root,
            _process: process,
        })
    }

    /// Where the files are that it serves.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The address of a file below the root.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }
}

fn places(lab: &Lab, host: &Host, name: &str) -> Result<(PathBuf, PathBuf)> {
    let dir = lab.subdir(&format!("{name}-{}", host.name()))?;
    let root = dir.join("root");
    fs::create_dir_all(&root)?;
    Ok((dir, root))
}

fn apache_configuration(dir: &Path, root: &Path, address: IpAddr) -> String {
    let (dir, root) = (dir.display(), root.display());
    let modules: String = [
        "mpm_event",
        "authz_core",
        "alias",
        "filter",
        "deflate",
        "setenvif",
        "mime",
    ]
    .iter()
    .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
    .collect();
    format!(
        r#"{modules}
ServerName lab
Listen {address}:{PORT}
PidFile {dir}/apache.pid
ErrorLog {dir}/error.log
TypesConfig /dev/null
DocumentRoot {root}
Alias /packed/ {root}/
Alias /deflate/ {root}/
<Directory {root}>
    Require all granted
</Directory>
<Location /packed/>
    SetOutputFilter DEFLATE
    SetEnvIf Request_URI . force-gzip
</Location>
<Location /deflate/>
    SetOutputFilter DEFLATE
</Location>
"#
    )
}
