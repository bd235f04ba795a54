//! A finished file as a descriptor, where the daemon passes it: see
//! [`crate::api::descriptors`] for how it is asked for.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::Client;
use crate::api::descriptors::beside;

/// How long the daemon may take; the bytes can be had without it.
const PATIENCE: Duration = Duration::from_secs(10);

impl Client {
    /// A finished file of a job, to be read only, and its size in bytes.
    ///
    /// # Errors
    /// Where the daemon does not pass it: [`Client::download`] gets the bytes then, or
    /// the reason why there are none.
    pub async fn descriptor(&self, job: &str, number: usize) -> io::Result<(File, u64)> {
        let asked = timeout(PATIENCE, self.ask_for_descriptor(job, number)).await;
        asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn ask_for_descriptor(&self, job: &str, number: usize) -> io::Result<(File, u64)> {
        let mut stream = UnixStream::connect(beside(&self.socket)).await?;
        // In a directory that everybody can write to, somebody else may have made it.
        if stream.peer_cred()?.uid() != self.daemon {
            return Err(io::Error::other("it is not the daemon's socket"));
        }
        let request = format!("{job} {number}\n");
        stream.write_all(request.as_bytes()).await?;
        let receive = || receive(&stream);
        let (file, size) = stream.async_io(Interest::READABLE, receive).await?;
        if file.metadata()?.is_file() {
            Ok((file, size))
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }
}

fn receive(stream: &UnixStream) -> io::Result<(File, u64)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut size = [0; 8];
    let mut message = [IoSliceMut::new(&mut size)];
    let received = recvmsg(stream, &mut message, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptor = descriptors.next().and_then(|mut passed| passed.next());
    match descriptor {
        Some(descriptor) if received.bytes == size.len() => {
            Ok((descriptor.into(), u64::from_be_bytes(size)))
        }
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tokio::net::UnixListener;

    use super::*;

    /// A daemon that only listens, and the socket for descriptors that it should have.
    async fn daemon() -> (Client, [UnixListener; 2], TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let control = UnixListener::bind(&socket).unwrap();
        let descriptors = UnixListener::bind(beside(&socket)).unwrap();
        let client = Client::connect(&socket).await.unwrap();
        (client, [control, descriptors], dir)
    }

    #[tokio::test]
    async fn an_answer_without_a_descriptor_is_none() {
        let (client, [_, descriptors], _dir) = daemon().await;
        for answer in [&b""[..], &[0; 8]] {
            let serve = async {
                let mut stream = descriptors.accept().await.unwrap().0;
                stream.write_all(answer).await.unwrap();
                stream.shutdown().await.unwrap();
                stream
            };
            let (asked, _stream) = tokio::join!(client.descriptor("1", 0), serve);
            let error = asked.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_daemon_is_not_waited_for() {
        let (client, _listeners, _dir) = daemon().await;
        let error = client.descriptor("1", 0).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn the_socket_of_somebody_else_is_not_asked() {
        let (mut client, _listeners, _dir) = daemon().await;
        client.daemon += 1;
        let error = client.descriptor("1", 0).await.unwrap_err();
        assert!(error.to_string().contains("not the daemon's"), "{error}");
    }
}
