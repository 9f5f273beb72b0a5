//! Logs: text on a terminal, JSON otherwise. `RUST_LOG` chooses what is said.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What is said where `RUST_LOG` does not choose.
const DEFAULT: &str = "info,hyper=warn,rustls=warn";
/// lapin logs the bodies of returned messages, and they hold attribute values. What it has to say, the errors that it
/// returns say too.
const NEVER: &str = "lapin=off";

/// Starts logging to stderr.
pub fn start(filter: Option<&str>) {
    let filter = EnvFilter::try_new(filter.unwrap_or(DEFAULT)).unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let filter = NEVER.parse().map_or_else(|_| EnvFilter::new(DEFAULT), |never| filter.add_directive(never));
    let registry = tracing_subscriber::registry().with(filter);
    // a second start, as in tests, keeps the first one
    let _ = match std::io::stderr().is_terminal() {
        true => registry.with(layer().with_writer(std::io::stderr).with_target(false)).try_init(),
        false => registry.with(layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init(),
    };
}
