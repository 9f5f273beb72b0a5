//! What the benchmarks share. Each of them runs the real program between RabbitMQ, Redis and a sandbox, prints what it
//! measured beside its bound, and ends with 1 if a bound is missed.

#![allow(dead_code, reason = "each benchmark is a program of its own and uses a part")]

pub mod broker;
pub mod events;
#[path = "../../tests/it/support/relay.rs"]
pub mod relay;
pub mod report;
pub mod target;

use std::process::ExitCode;
use std::time::Duration;

use report::Report;

/// Most time for one benchmark, whatever happens.
const DEADLINE: Duration = Duration::from_secs(120);

/// Runs a benchmark, unless this is only `cargo test --all-targets`, which starts benchmarks without `--bench`.
pub async fn bench(title: &str, measure: impl Future<Output = Report>) -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("{title}: run by `make bench`");
        return ExitCode::SUCCESS;
    }
    println!("\n{title}");
    match tokio::time::timeout(DEADLINE, measure).await {
        Ok(report) => report.end(),
        Err(_) => {
            eprintln!("  not done within {} s", DEADLINE.as_secs());
            ExitCode::FAILURE
        }
    }
}
