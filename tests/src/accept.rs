//! Taking callers in a thread of a test until the test is over.

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a thread may not notice that its test is over.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// The next caller, on a socket that blocks; `None` when `stop` is set. The listener
/// must not block.
pub(crate) fn next_caller(listener: &TcpListener, stop: &AtomicBool) -> Option<TcpStream> {
    while !stop.load(Ordering::Relaxed) {
        let mut ready = [PollFd::new(listener, PollFlags::IN)];
        // A caller may be gone again, and a signal may come: both mean to look again.
        let _ = poll(&mut ready, Some(&LOOK));
        if let Ok((socket, _)) = listener.accept()
            && socket.set_nonblocking(false).is_ok()
        {
            return Some(socket);
        }
    }
    None
}
