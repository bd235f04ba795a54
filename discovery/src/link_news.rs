//! Word from the system that an interface or an address came, went or changed.

use std::io;

use tokio::net::UdpSocket;

/// What the kernel says about links. What exactly changed is not read: whoever hears
/// of a change looks at the interfaces again.
pub(crate) struct LinkNews(UdpSocket);

impl LinkNews {
    /// Listens. Must be called on the runtime.
    #[cfg(target_os = "linux")]
    pub(crate) fn open() -> io::Result<Self> {
        use rustix::net::netlink::SocketAddrNetlink;
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
        /// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR` of rtnetlink(7).
        const GROUPS: u32 = 0x1 | 0x10 | 0x100;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Of the netlink families the one for routes is number 0, which is `None`.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        // To the runtime it is a socket for datagrams like any other.
        UdpSocket::from_std(socket.into()).map(Self)
    }

    /// Other systems say nothing here.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn open() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Waits for the next change.
    pub(crate) async fn changed(&mut self) -> io::Result<()> {
        /// More came than the socket's buffer took.
        const ENOBUFS: i32 = 105;
        match self.0.recv(&mut [0; 8192]).await {
            Ok(_) => Ok(()),
            // Something changed, whatever it was.
            Err(error) if error.raw_os_error() == Some(ENOBUFS) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Forgets what was said until now.
    pub(crate) fn drain(&mut self) {
        while self.0.try_recv(&mut [0; 8192]).is_ok() {}
    }
}
