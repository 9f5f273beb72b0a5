//! `make run`: the whole pipeline over a sample directory, and whether the target ends up equal to it.
//!
//! Starts the sandbox and the relay, publishes the events of a simulated company (out of order and partly twice), follows
//! the relay's metrics, then compares the sandbox with the directory that the simulation itself kept. RabbitMQ and Redis
//! are where `scripts/with-services` says. In a terminal everything stays up until Ctrl-C.

#![allow(clippy::disallowed_methods, reason = "a program of its own: it reads clock and environment itself")]

mod metrics;
mod processes;
mod progress;
mod report;
mod stage;

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use scim_relay::sample::{self, Size};
use tokio::signal::unix::{SignalKind, signal};

use crate::progress::Outcome;
use crate::stage::Stage;

/// Runs the whole pipeline over a sample directory.
#[derive(Debug, Parser)]
struct Options {
    /// What the sample follows from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// People who ever worked there.
    #[arg(long, default_value_t = 2_000)]
    people: usize,
    /// Groups that ever existed.
    #[arg(long, default_value_t = 100)]
    groups: usize,
    /// Messages, repetitions included.
    #[arg(long, default_value_t = 20_000)]
    events: usize,
    /// Give people managers.
    #[arg(long)]
    managers: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let played = tokio::select! {
        played = play(&options) => played,
        code = interrupted() => return code,
    };
    let ended = match played {
        Ok((stage, outcome)) => end(stage, outcome).await,
        Err(error) => Err(error),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("tour: {error:#}");
            ExitCode::from(3)
        }
    }
}

/// Everything up to the summary. What was started ends with this future, should it be dropped.
async fn play(options: &Options) -> Result<(Stage, Outcome)> {
    let Options { seed, people, groups, events, managers } = *options;
    let sample = sample::generate(seed, Size { people, groups, events, managers });
    println!("{} events over {people} people and {groups} groups, seed {seed}", sample.events.len());
    let mut stage = Stage::set().await?;
    let outcome = progress::follow(&mut stage, &sample).await?;
    report::print(&outcome);
    Ok((stage, outcome))
}

/// True when the target equals the sample directory. In a terminal the stage stays until a signal comes.
async fn end(stage: Stage, outcome: Outcome) -> Result<bool> {
    if std::io::stdout().is_terminal() {
        report::where_to_look(&stage);
        interrupted().await;
    }
    tokio::select! {
        struck = stage.strike() => struck?,
        _ = interrupted() => {}
    }
    Ok(outcome.differences.is_empty())
}

/// Waits for a signal to end; 128 and its number, as shells do.
async fn interrupted() -> ExitCode {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let waits = kinds.map(|kind| {
        Box::pin(async move {
            match signal(kind) {
                Ok(mut signals) => drop(signals.recv().await),
                Err(_) => std::future::pending().await,
            }
            u8::try_from(128 + kind.as_raw_value()).unwrap_or(u8::MAX)
        })
    });
    let (code, _, _) = futures_util::future::select_all(waits).await;
    ExitCode::from(code)
}
