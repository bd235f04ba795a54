//! Streams of the daemon: one document a line.

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

use super::error::broken;
use super::{Answer, ClientError};

/// The longest line of a stream: one job.
const MAX_LINE: usize = 8 << 20;

/// Lines of JSON that arrive as things happen.
#[derive(Debug)]
pub struct Lines {
    answer: Answer,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no end of a line.
    searched: usize,
}

impl Lines {
    pub(super) fn of(answer: Answer) -> Self {
        Self {
            answer,
            buffer: BytesMut::new(),
            searched: 0,
        }
    }

    /// The next line, without its end; `None` when there are no more. May be called
    /// again after it was dropped half way.
    ///
    /// # Errors
    /// When the connection breaks or a line is too long.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let fresh = &self.buffer[self.searched..];
            if let Some(end) = fresh.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + end).freeze();
                self.buffer.advance(1);
                self.searched = 0;
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.searched > MAX_LINE {
                return Err(ClientError::Broken("a line without an end".to_owned()));
            }
            match self.answer.response.body_mut().frame().await {
                Some(frame) => {
                    if let Ok(bytes) = frame.map_err(broken)?.into_data() {
                        self.buffer.extend_from_slice(&bytes);
                    }
                }
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(ClientError::Broken("it ends within a line".to_owned())),
            }
        }
    }

    /// The next line, read.
    ///
    /// # Errors
    /// As [`Lines::next`], and when the line is something else.
    pub async fn next_document<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        let Some(line) = self.next().await? else {
            return Ok(None);
        };
        serde_json::from_slice(&line).map(Some).map_err(broken)
    }
}
