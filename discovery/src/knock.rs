//! Whether a node's ports can be reached from outside: a peer calls them and tells.
//! Only the asker's own ports at its own address are called, so nobody can have
//! somebody else's knocked at.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A call to a machine on the same subnet takes a millisecond; a firewall that drops
/// it says nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// Which of a node's ports a peer could reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Knocked {
    /// The data port.
    pub data: bool,
    /// The control port; `None` if the peer does not know it.
    pub control: Option<bool>,
}

/// Calls the ports of a node.
pub(crate) async fn knock(data: SocketAddr, control: Option<SocketAddr>) -> Knocked {
    let control = async {
        match control {
            Some(control) => Some(is_open(control).await),
            None => None,
        }
    };
    let (data, control) = tokio::join!(is_open(data), control);
    Knocked { data, control }
}

async fn is_open(address: SocketAddr) -> bool {
    let called = timeout(PATIENCE, TcpStream::connect(address)).await;
    matches!(called, Ok(Ok(_)))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn open_and_closed_are_told_apart() {
        let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = open.local_addr().unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone = closed.local_addr().unwrap();
        drop(closed);
        let found = knock(address, Some(gone)).await;
        assert_eq!((found.data, found.control), (true, Some(false)));
        assert_eq!(knock(gone, None).await.control, None);
    }
}
