//! Who is at the other end of the socket.

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;

use super::problem::Problem;
use crate::jobs::Caller;

/// The user at the other end, as the kernel vouches for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct SocketPeer {
    pub(super) uid: Option<u32>,
}

/// Whether this is root, or the user as whom the daemon runs.
pub(crate) fn is_administrator(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let peer: Result<ConnectInfo<SocketPeer>, _> =
            ConnectInfo::from_request_parts(parts, state).await;
        match peer {
            Ok(ConnectInfo(SocketPeer { uid: Some(uid), .. })) => Ok(Self { uid }),
            _ => Err(Problem::forbidden("the system does not say who calls")),
        }
    }
}

/// A caller who may see and change what is not only theirs: root, or the user as whom
/// the daemon runs.
pub(super) struct Administrator;

impl<S: Send + Sync> FromRequestParts<S> for Administrator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        if is_administrator(caller.uid) {
            Ok(Self)
        } else {
            Err(Problem::forbidden(
                "only root and the user of the daemon may do that",
            ))
        }
    }
}
