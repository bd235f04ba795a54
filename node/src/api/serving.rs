//! Answers callers, each connection in a task of its own.
//!
//! HTTP/1.1 and nothing else: with HTTP/2 one connection would be hundreds of calls at
//! once, and what counts connections would count nothing.

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::caller::SocketPeer;
use super::caller_stream::CallerStream;
use super::gate::{Door, Gate};

/// Answers until `stop`, and then what is being asked. Dropping it ends all connections.
pub(super) async fn answer<D: Door>(gate: Gate<D>, router: Router, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            // One that ended with a panic is like any other that ended.
            Some(_) = connections.join_next() => {}
            arrival = gate.next() => {
                let (router, stop) = (router.clone(), stop.clone());
                connections.spawn(async move {
                    let caller = tokio::select! {
                        caller = arrival.enter() => caller,
                        () = stop.cancelled() => None,
                    };
                    if let Some(caller) = caller {
                        converse(caller, router, stop).await;
                    }
                });
            }
        }
    }
    drop(gate);
    while connections.join_next().await.is_some() {}
}

/// Answers one caller.
async fn converse<S>(caller: CallerStream<S>, router: Router, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = SocketPeer { uid: caller.uid() };
    let activity = caller.activity();
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let busy = activity.begin();
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let response = router.call(request);
        async move { response.await.map(|response| busy.until_sent(response)) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(caller), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a call broke off");
    }
}
