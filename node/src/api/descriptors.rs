//! Finished files as descriptors: the caller's own process clones or copies what it may
//! only read, and no byte passes through the daemon.
//!
//! HTTP carries no descriptors, so they have a socket of their own beside the control
//! socket, for the same callers. A caller writes one line, the job's id and the number of
//! the file with a space between; the answer is one message of eight bytes, the file's size
//! (big-endian), and with it one descriptor (`SCM_RIGHTS`, unix(7)). No answer is a refusal:
//! the bytes can be had on the control socket, or the reason why not.

use std::fs::File;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use potluck_cache::Lease;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::State;
use super::room::{Room, Seat};
use crate::config::Users;
use crate::jobs::Caller;

/// Callers at once, of whom some may be root's or the daemon's user's alone, and of one
/// other user; who comes on top is sent away, and asks for the bytes.
const CALLERS: usize = 64;
const RESERVE: usize = 16;
const CALLERS_OF_ONE: usize = 16;
/// How long a caller may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest request: an id, a number and what is between.
const MAX_REQUEST: usize = 64;
/// How long to wait where no caller can be let in, as without descriptors.
const BREATHER: Duration = Duration::from_secs(1);

/// How finished files came to their owners since the node started.
#[derive(Debug, Default)]
pub struct HandedOver {
    descriptors: AtomicU64,
    bytes: AtomicU64,
}

impl HandedOver {
    /// Files that were passed as descriptors.
    #[must_use]
    pub fn descriptors(&self) -> u64 {
        self.descriptors.load(Ordering::Relaxed)
    }

    /// Files whose bytes were asked for.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn count_bytes(&self) {
        self.bytes.fetch_add(1, Ordering::Relaxed);
    }
}

/// Where the socket for descriptors is, beside a control socket.
#[must_use]
pub fn beside(control: &Path) -> PathBuf {
    let mut path = control.as_os_str().to_owned();
    path.push(".files");
    path.into()
}

/// The socket for descriptors. Its file goes with it.
#[derive(Debug)]
pub struct DescriptorSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl DescriptorSocket {
    /// Opens it beside a control socket, where other users than the daemon's may call: its
    /// own user's files the daemon writes itself. Without it callers are given the bytes.
    #[must_use]
    pub fn open(control: &Path, users: Users) -> Option<Self> {
        if !super::is_open(users) {
            return None;
        }
        let path = beside(control);
        match super::bind(&path, users) {
            Ok(listener) => Some(Self { listener, path }),
            Err(error) => {
                let path = path.display();
                tracing::warn!(%path, %error, "no socket to pass files on: callers get the bytes");
                None
            }
        }
    }

    /// Answers until the node stops.
    pub async fn serve(self, state: State) {
        let room = Room::new(CALLERS, RESERVE, CALLERS_OF_ONE);
        let mut callers = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = state.stopping.cancelled() => return,
                Some(_) = callers.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                    let Some(seat) = room.enter(uid) else {
                        tracing::debug!("too many callers ask for descriptors");
                        continue;
                    };
                    callers.spawn(answer_in_time(stream, state.clone(), seat));
                }
                Err(error) => {
                    tracing::warn!(%error, "the socket to pass files on failed");
                    let _ = timeout(BREATHER, state.stopping.cancelled()).await;
                }
            }
        }
    }
}

impl Drop for DescriptorSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer_in_time(stream: UnixStream, state: State, _seat: Seat) {
    match timeout(PATIENCE, answer(stream, &state)).await {
        Ok(Ok(())) => {
            state
                .handed_over
                .descriptors
                .fetch_add(1, Ordering::Relaxed);
        }
        Ok(Err(error)) => tracing::debug!(%error, "no descriptor was passed"),
        Err(_) => tracing::debug!("a caller took too long to ask for a descriptor"),
    }
}

/// Passes the file to the owner of its job, as the control socket gives its bytes.
async fn answer(mut stream: UnixStream, state: &State) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    let (job, number) = read_request(&mut stream).await?;
    let taken = state.jobs.take(Caller { uid }, job, number).await;
    let lease = taken.map_err(io::Error::other)?.lease;
    let size = lease.size();
    let reopened = tokio::task::spawn_blocking(move || reopen(&lease)).await;
    pass(&stream, &reopened.map_err(io::Error::other)??, size).await
}

async fn read_request(stream: &mut UnixStream) -> io::Result<(String, usize)> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut line = Vec::with_capacity(MAX_REQUEST);
    while !line.ends_with(b"\n") {
        if line.len() == MAX_REQUEST {
            return Err(invalid());
        }
        line.push(stream.read_u8().await?);
    }
    let line = std::str::from_utf8(&line).map_err(|_| invalid())?;
    let (job, number) = line.trim_end().split_once(' ').ok_or_else(invalid)?;
    Ok((job.to_owned(), number.parse().map_err(|_| invalid())?))
}

/// The file once more, to be read only. Whoever has the daemon's own descriptor shares its
/// flags and locks.
fn reopen(lease: &Lease) -> io::Result<File> {
    let own = lease.file();
    let file = File::open(format!("/proc/self/fd/{}", own.as_raw_fd()))?;
    let meta = file.metadata()?;
    // A descriptor leads to its file by /proc, where only the file's mode is in the way.
    let is_own = meta.uid() == rustix::process::geteuid().as_raw();
    let is_private = is_own && meta.mode() & 0o077 == 0;
    if is_private && meta.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("the file is not the daemon's alone"))
    }
}

async fn pass(stream: &UnixStream, file: &File, size: u64) -> io::Result<()> {
    let size = size.to_be_bytes();
    let send = || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = [file.as_fd()];
        if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let message = [IoSlice::new(&size)];
        Ok(sendmsg(
            stream,
            &message,
            &mut control,
            SendFlags::NOSIGNAL,
        )?)
    };
    match stream.async_io(Interest::WRITABLE, send).await? {
        sent if sent == size.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}
