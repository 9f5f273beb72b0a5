//! The command line (contract s4).

mod dead;
mod held;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::core::schedule::Lane;

pub use dead::{Change, DeadAction, Export, Look, Replay, Select};
pub use held::{HeldAction, HeldChange, HeldLook, HeldSelect};

/// Relays directory change events from RabbitMQ into a SCIM service provider.
#[derive(Debug, Parser)]
#[command(name = "scim-relay", version, about, max_term_width = 100)]
pub struct Cli {
    /// The configuration file.
    #[arg(long, global = true, env = "SCIM_RELAY_CONFIG", default_value = "relay.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Consume, coalesce and flush until SIGTERM or SIGINT.
    Run,
    /// Publish events, one JSON document a line, to the exchange. `-` reads standard input.
    Publish {
        /// The file, or `-`.
        file: String,
    },
    /// One screen: what is pending, what waits, what is dead.
    Status(Json),
    /// Why a resource is as it is: desired, applied, what it waits for, what would be sent now. Sends nothing.
    Explain(Explain),
    /// Have the target read again, and plan anew.
    Verify(Verify),
    /// Drop what is stored about a resource.
    Forget(Forget),
    /// A resource's events from the journal with their outcomes, and the writes that carried them. No values.
    Trace(Trace),
    /// Merge the journal again from some time on, and have the target read what that touches.
    Rewind(Rewind),
    /// Deprovisioning that the guard holds: see it, let it through, refuse it.
    Held {
        /// What to do with it.
        #[command(subcommand)]
        action: Box<HeldAction>,
    },
    /// Stop sending, over all replicas. Intake goes on.
    Pause(SwitchOptions),
    /// Start sending again.
    Resume(SwitchOptions),
    /// Dead letters: see them, understand them, replay them.
    Dead {
        /// What to do with them.
        #[command(subcommand)]
        action: Box<DeadAction>,
    },
    /// The objects in RabbitMQ.
    Topology {
        /// What to do with them.
        #[command(subcommand)]
        action: TopologyAction,
    },
    /// Check configuration, broker, store, token endpoint and target. Writes nothing.
    Check(Json),
    /// The configuration's schema or an example of it.
    Config {
        /// Which.
        #[command(subcommand)]
        what: ConfigWhat,
    },
    /// A local SCIM service provider with fault injection, for development.
    Sandbox(Box<crate::sandbox::SandboxOptions>),
    /// Completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Which resource is explained.
#[derive(Clone, Debug, Args)]
pub struct Explain {
    /// The resource, such as User/e-10042.
    pub resource: String,
    /// As one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// What is looked at again.
#[derive(Clone, Debug, Args)]
pub struct Verify {
    /// The resource, such as User/e-10042.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub resource: Option<String>,
    /// Everything that is known.
    #[arg(long)]
    pub all: bool,
    /// Why, for the audit record.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// What is forgotten.
#[derive(Clone, Debug, Args)]
pub struct Forget {
    /// The resource, such as User/e-10042.
    pub resource: String,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
    /// Why, for the audit record.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Which resource's events are shown.
#[derive(Clone, Debug, Args)]
pub struct Trace {
    /// The resource, such as User/e-10042.
    pub resource: String,
    /// From this time on: RFC 3339, or an age such as `2h`.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "its text would become the command's help")]
    pub json: Json,
}

/// What is merged again.
#[derive(Clone, Debug, Args)]
pub struct Rewind {
    /// From this time on: RFC 3339, or an age such as `2h`.
    #[arg(long, value_name = "TIME")]
    pub since: String,
    /// Only this resource, such as User/e-10042.
    #[arg(long, value_name = "RESOURCE")]
    pub resource: Option<String>,
    /// Only count what would come of it.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
    /// Why, for the audit record.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// What is stopped or started.
#[derive(Clone, Debug, Args)]
pub struct SwitchOptions {
    /// Only this lane.
    #[arg(long, value_enum)]
    pub lane: Option<LaneName>,
    /// Why, for the audit record.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// A lane, as it is named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LaneName {
    /// Deletes, and `active` from true to false.
    Deprovision,
    /// Resources that are not at the target yet.
    Create,
    /// Any other change of attributes.
    Update,
    /// Only memberships.
    Members,
}

impl From<LaneName> for Lane {
    fn from(name: LaneName) -> Self {
        match name {
            LaneName::Deprovision => Lane::Deprovision,
            LaneName::Create => Lane::Create,
            LaneName::Update => Lane::Update,
            LaneName::Members => Lane::Members,
        }
    }
}

/// How a listing is printed.
#[derive(Clone, Copy, Debug, Args)]
pub struct Json {
    /// One JSON document a line.
    #[arg(long)]
    pub json: bool,
}

/// What to do with the objects in RabbitMQ.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum TopologyAction {
    /// Print what there should be.
    Show(Json),
    /// Declare what is missing.
    Apply,
    /// Compare what there is with what there should be.
    Verify(Json),
}

/// What to print of the configuration.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ConfigWhat {
    /// JSON Schema.
    Schema,
    /// A commented example with every key.
    Example,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or equal.
    Done,
    /// Differences, or some items failed.
    Differences,
    /// Usage or configuration.
    Usage,
    /// It could not be done.
    Failed,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Differences => 1,
            Exit::Usage => 2,
            Exit::Failed => 3,
        })
    }
}
