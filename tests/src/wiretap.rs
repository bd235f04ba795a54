//! What goes over a host's wire.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with};

use crate::Host;

/// All protocols, in the order of the network (`linux/if_ether.h`, `ETH_P_ALL`).
const ALL: u32 = 0x0003_u16.to_be() as u32;

/// Hears every frame that a host in a namespace sends or receives.
#[derive(Debug)]
pub struct Wiretap {
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Wiretap {
    /// Begins to listen. Takes the rights of root.
    pub fn on(host: &Host) -> Result<Self> {
        let socket = host.inside(|| {
            socket_with(
                AddressFamily::PACKET,
                SocketType::RAW,
                SocketFlags::NONBLOCK,
                std::num::NonZero::new(ALL).map(Protocol::from_raw),
            )
        })?;
        let socket = socket.context("a socket for all frames")?;
        // As root: nothing is to be missed while others run.
        set_socket_recv_buffer_size_force(&socket, 32 << 20)?;
        let (heard, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::default());
        let (frames, stopped) = (Arc::clone(&heard), Arc::<AtomicBool>::clone(&stop));
        let thread = host.spawn(move || {
            let mut frame = vec![0; 70_000];
            while !stopped.load(Ordering::Relaxed) {
                match recv(&socket, &mut frame[..], RecvFlags::empty()) {
                    Ok((_, len)) => frames
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(frame[..len].to_vec()),
                    Err(Errno::AGAIN) => std::thread::sleep(Duration::from_millis(1)),
                    Err(_) => return,
                }
            }
        })?;
        Ok(Self {
            heard,
            stop,
            thread: Some(thread),
        })
    }

    /// The frames so far.
    pub fn frames(&self) -> Vec<Vec<u8>> {
        let heard = self.heard.lock();
        heard.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Wiretap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
