//! A table of contents: what each command runs.

use std::process::ExitCode;

use clap::Parser;
use scim_relay::app;
use scim_relay::cli::{Cli, Command, ConfigWhat};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    app::end_with_the_reader();
    let cli = Cli::parse();
    let config = cli.config.as_path();
    let exit = match cli.command {
        Command::Run => app::run(config).await,
        Command::Publish { file } => app::publish(config, &file).await,
        Command::Status(json) => app::status(config, json).await,
        Command::Explain(options) => app::explain(config, options).await,
        Command::Verify(options) => app::verify(config, options).await,
        Command::Forget(options) => app::forget(config, options).await,
        Command::Trace(options) => app::trace(config, options).await,
        Command::Rewind(options) => app::rewind(config, options).await,
        Command::Held { action } => app::held(config, *action).await,
        Command::Pause(options) => app::pause(config, options).await,
        Command::Resume(options) => app::resume(config, options).await,
        Command::Dead { action } => app::dead(config, *action).await,
        Command::Topology { action } => app::topology(config, action).await,
        Command::Check(json) => app::check(config, json).await,
        Command::Config { what: ConfigWhat::Schema } => app::config_schema(),
        Command::Config { what: ConfigWhat::Example } => app::config_example(),
        Command::Sandbox(options) => app::sandbox(*options).await,
        Command::Completions { shell } => app::completions(shell),
    };
    exit.into()
}
