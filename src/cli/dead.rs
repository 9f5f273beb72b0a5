//! `dead`: the command line of letters.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

use super::Json;
use crate::core::letter::Class;

/// What to do with letters.
#[derive(Debug, Subcommand)]
pub enum DeadAction {
    /// Groups of equal failures, the largest first.
    Summary(Look),
    /// One line for each letter.
    List(Look),
    /// Letters in full: headers, intent, and what the relay would do with them now.
    Show(Look),
    /// What would come of a replay, letter by letter and in total. Sends nothing.
    Plan(Look),
    /// Send letters again, to be planned against today's state.
    Replay(Replay),
    /// Give letters up: they go to `parked`, where they expire.
    Discard(Change),
    /// Bring discarded letters back from `parked`.
    Restore(Change),
    /// Write letters as lines that `publish` takes.
    Export(Export),
    /// Build the index of letters anew from the queue.
    Reindex {
        /// Of the discarded letters.
        #[arg(long)]
        parked: bool,
    },
}

/// Which letters.
#[derive(Clone, Debug, Default, Args)]
pub struct Select {
    /// IDs of letters.
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// Among the discarded letters.
    #[arg(long)]
    pub parked: bool,
    /// Of these classes.
    #[arg(long, value_name = "CLASS", value_parser = PossibleValuesParser::new(Class::ALL.iter().map(|class| class.name())))]
    pub class: Vec<String>,
    /// With these HTTP statuses.
    #[arg(long, value_name = "STATUS")]
    pub status: Vec<u16>,
    /// Of resources such as `User/e-10042`; `*` and `?` stand for anything.
    #[arg(long, value_name = "GLOB")]
    pub resource: Option<String>,
    /// Last failed at this time or later: RFC 3339, or an age such as `2h`.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Last failed before this time: RFC 3339, or an age such as `2h`.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Of these groups of equal failures.
    #[arg(long, value_name = "FINGERPRINT")]
    pub fingerprint: Vec<String>,
    /// The first so many of them, the oldest first.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// All letters.
    #[arg(long)]
    pub all: bool,
}

/// Letters to look at.
#[derive(Clone, Debug, Args)]
pub struct Look {
    #[command(flatten)]
    #[allow(missing_docs, reason = "its text would become the command's help")]
    pub select: Select,
    #[command(flatten)]
    #[allow(missing_docs, reason = "its text would become the command's help")]
    pub json: Json,
}

/// Letters to change.
#[derive(Clone, Debug, Args)]
pub struct Change {
    #[command(flatten)]
    #[allow(missing_docs, reason = "its text would become the command's help")]
    pub select: Select,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
    /// Why; goes into the audit record.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Letters to replay.
#[derive(Clone, Debug, Args)]
pub struct Replay {
    #[command(flatten)]
    #[allow(missing_docs, reason = "its text would become the command's help")]
    pub change: Change,
    /// At most so many a second.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Stop when so many of them are dead again.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub stop_after_failures: Option<u32>,
    /// Also those whose history is unknown (class `stale_unknown`, `unknown_history` in a plan): something newer may have been
    /// applied and forgotten since.
    #[arg(long)]
    pub accept_stale: bool,
    /// How long to wait for outcomes at the end.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    pub wait: std::time::Duration,
    #[command(flatten)]
    #[allow(missing_docs, reason = "its text would become the command's help")]
    pub json: Json,
}

/// Letters to export.
#[derive(Clone, Debug, Args)]
pub struct Export {
    #[command(flatten)]
    #[allow(missing_docs, reason = "its text would become the command's help")]
    pub select: Select,
    /// A new file that only its owner may read; without it they go to standard output.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
