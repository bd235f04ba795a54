//! `potluck node`: the daemon.

use tokio::signal::unix::{SignalKind, signal};

use super::args::Global;
use super::config;
use super::failure::Failure;
use super::open_files;
use crate::node::Node;

pub(super) async fn run(global: &Global) -> Result<(), Failure> {
    let settings = config::load(global)?.settings;
    open_files::take_all();
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        return Err(Failure::failed("cannot listen for signals"));
    };
    let mut node = Box::pin(Node::start(settings))
        .await
        .map_err(|error| Failure::failed(error.to_string()))?;
    tracing::info!(
        data_dir = %node.state().settings.data_dir.display(),
        socket = %node.socket().display(),
        "the node runs"
    );
    let is_fault = tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        () = node.failed() => true,
    };
    tracing::info!("the node stops");
    node.stop().await;
    if is_fault {
        return Err(Failure::failed(
            "a part of the node broke down: see its log",
        ));
    }
    Ok(())
}
