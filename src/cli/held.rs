//! `held`: the command line of changes that wait for an operator.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

use super::{Json, Select};
use crate::core::letter::Class;

/// What to do with held changes.
#[derive(Debug, Subcommand)]
pub enum HeldAction {
    /// One line for each change that waits, the oldest first.
    List(HeldLook),
    /// Changes in full: headers and intent.
    Show(HeldLook),
    /// Let changes through: they are applied, and the guard does not ask again.
    Approve(HeldChange),
    /// Refuse changes: what was last applied stays.
    Reject(HeldChange),
}

/// Which changes.
#[derive(Clone, Debug, Default, Args)]
pub struct HeldSelect {
    /// IDs of letters.
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// Of these classes: what becomes of a change that nobody decides about.
    #[arg(long, value_name = "CLASS", value_parser = PossibleValuesParser::new(Class::ALL.iter().map(|class| class.name())))]
    pub class: Vec<String>,
    /// With these HTTP statuses.
    #[arg(long, value_name = "STATUS")]
    pub status: Vec<u16>,
    /// Of resources such as `User/e-10042`; `*` and `?` stand for anything.
    #[arg(long, value_name = "GLOB")]
    pub resource: Option<String>,
    /// Held at this time or later: RFC 3339, or an age such as `2h`.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Held before this time: RFC 3339, or an age such as `2h`.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Of these groups of equal changes.
    #[arg(long, value_name = "FINGERPRINT")]
    pub fingerprint: Vec<String>,
    /// The first so many of them, the oldest first.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// All of them.
    #[arg(long)]
    pub all: bool,
}

impl From<HeldSelect> for Select {
    fn from(held: HeldSelect) -> Self {
        let HeldSelect { ids, class, status, resource, since, until, fingerprint, limit, all } = held;
        Self { ids, parked: false, class, status, resource, since, until, fingerprint, limit, all }
    }
}

/// Changes to look at.
#[derive(Clone, Debug, Args)]
pub struct HeldLook {
    #[command(flatten)]
    #[allow(missing_docs, reason = "its text would become the command's help")]
    pub select: HeldSelect,
    #[command(flatten)]
    #[allow(missing_docs, reason = "its text would become the command's help")]
    pub json: Json,
}

/// Changes to decide about.
#[derive(Clone, Debug, Args)]
pub struct HeldChange {
    #[command(flatten)]
    #[allow(missing_docs, reason = "its text would become the command's help")]
    pub select: HeldSelect,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
    /// Why; goes into the audit record.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}
