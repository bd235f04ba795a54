//! The control socket of a node, without its command line: for many calls in a row.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// One connection that is kept.
#[derive(Debug)]
pub struct Control(BufReader<UnixStream>);

impl Control {
    /// Connects to the daemon that listens there.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).context("the control socket")?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Asks for something.
    pub fn get(&mut self, path: &str) -> Result<Value> {
        self.call("GET", path, &[])
    }

    /// Has something done.
    pub fn post(&mut self, path: &str, body: &Value) -> Result<Value> {
        self.call("POST", path, &serde_json::to_vec(body)?)
    }

    fn call(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Value> {
        let mut message = format!(
            "{method} {path} HTTP/1.1\r\nHost: potluck\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        message.extend_from_slice(body);
        self.0.get_mut().write_all(&message)?;
        let status = self.line()?;
        let mut length = None;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = Some(value.trim().parse::<usize>()?);
            }
        }
        let mut answer = vec![0; length.context("an answer without a length")?];
        self.0.read_exact(&mut answer)?;
        let ok = status
            .split(' ')
            .nth(1)
            .is_some_and(|code| code.starts_with('2'));
        ensure!(
            ok,
            "{method} {path}: {status}: {}",
            String::from_utf8_lossy(&answer)
        );
        serde_json::from_slice(&answer).context("an answer in JSON")
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.0.read_line(&mut line)? > 0, "the daemon hung up");
        Ok(line.trim_end().to_owned())
    }
}
