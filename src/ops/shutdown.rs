//! One signal, one token: SIGTERM and SIGINT stop the relay; a second one ends it at once. Nothing is lost by that: what is
//! not settled is still in the queue or in the store.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancelled by the first signal.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = stop.clone();
    #[expect(clippy::disallowed_methods, reason = "lives as long as the process, and ends it")]
    tokio::spawn(async move {
        let code = tokio::select! { _ = term.recv() => 143, _ = int.recv() => 130 };
        tracing::info!("stopping: what is in flight is finished; a second signal ends at once");
        token.cancel();
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        std::process::exit(code);
    });
    Ok(stop)
}
