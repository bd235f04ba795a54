//! Writing answers.

use std::io::{self, Write as _};
use std::net::TcpStream;

use potluck_tests::{Asked, Then};

/// What an answer is made of.
pub(crate) struct Answer {
    first: &'static str,
    fields: Vec<String>,
}

impl Answer {
    pub(crate) fn new(first: &'static str) -> Self {
        let fields = Vec::new();
        Self { first, fields }
    }

    #[allow(clippy::needless_pass_by_value, reason = "numbers and texts alike")]
    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.fields
            .push(format!("{name}: {}\r\n", value.to_string()));
        self
    }

    pub(crate) fn send(&self, asked: &Asked, body: &[u8], out: &mut TcpStream) -> io::Result<()> {
        write!(out, "{}\r\n{}\r\n", self.first, self.fields.concat())?;
        if asked.method != "HEAD" {
            out.write_all(body)?;
        }
        Ok(())
    }
}

/// An answer as it should be.
pub(crate) fn honest(asked: &Asked, content: &[u8], out: &mut TcpStream) -> io::Result<Then> {
    honest_of(asked, content, "one", out)
}

/// An answer as it should be, with this tag.
pub(crate) fn honest_of(
    asked: &Asked,
    content: &[u8],
    tag: &str,
    out: &mut TcpStream,
) -> io::Result<Then> {
    let size = content.len();
    let answer = |first| {
        Answer::new(first)
            .with("ETag", format!("\"{tag}\""))
            .with("Accept-Ranges", "bytes")
    };
    match asked.range() {
        Some((first, last)) => {
            let last = (last as usize).min(size - 1);
            let part = &content[first as usize..=last];
            answer("HTTP/1.1 206 Partial Content")
                .with("Content-Range", format!("bytes {first}-{last}/{size}"))
                .with("Content-Length", part.len())
                .send(asked, part, out)?;
        }
        None => answer("HTTP/1.1 200 OK")
            .with("Content-Length", size)
            .send(asked, content, out)?,
    }
    Ok(Then::Keep)
}
