//! Opening a port.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Callers that the system keeps waiting.
const BACKLOG: i32 = 1024;

/// Listens for TCP connections. `[::]` takes those of IPv4 as well, whatever the
/// system's default is. Must be called on the runtime.
///
/// # Errors
/// When the system refuses, because the port is taken say.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Else a node that is started again would wait for its former connections to fade.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;
    use crate::canonical;

    #[tokio::test]
    async fn one_port_serves_both_families() {
        let listener = match listen("[::]:0".parse().unwrap()) {
            Ok(listener) => listener,
            Err(error) => panic!("this machine has no IPv6, which the test needs: {error}"),
        };
        let port = listener.local_addr().unwrap().port();
        for ip in ["127.0.0.1", "::1"] {
            let address = SocketAddr::new(ip.parse().unwrap(), port);
            let _calling = TcpStream::connect(address).await.unwrap();
            let (_, from) = listener.accept().await.unwrap();
            assert_eq!(canonical(from).ip(), address.ip());
        }
    }
}
