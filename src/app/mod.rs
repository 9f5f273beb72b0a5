//! The composition root: builds the parts from the configuration and wires them. Commands end in an [`Exit`].

mod ask;
mod build;
mod dead;
mod documents;
mod forecast;
mod held;
mod inspect;
mod journal;
mod publish;
mod relay;
mod resource;
mod rewind;
mod run;
mod switch;
mod topology;
mod trace;

use std::collections::BTreeMap;
use std::path::Path;

use crate::cli::Exit;
use crate::config::Config;
use crate::ops::telemetry;

pub use dead::dead;
pub use documents::{completions, config_example, config_schema, sandbox};
pub use held::held;
pub use inspect::{check, status};
pub use publish::publish;
pub use resource::{explain, forget, verify};
pub use rewind::rewind;
pub use run::run;
pub use switch::{pause, resume};
pub use topology::topology;
pub use trace::trace;

/// A problem that ends a command: its text, and how the command ends.
type Failure = (String, Exit);

fn failed(error: impl std::fmt::Display) -> Failure {
    (error.to_string(), Exit::Failed)
}

/// Whoever reads our output may have seen enough (`… | head`): that ends a command without a word, as a signal would.
pub fn end_with_the_reader() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload().downcast_ref::<String>().map_or("", String::as_str);
        if said.starts_with("failed printing to std") && said.contains("Broken pipe") {
            std::process::exit(CLOSED_PIPE);
        }
        usual(panic);
    }));
}

/// What a shell says of a command that SIGPIPE ended.
const CLOSED_PIPE: i32 = 128 + 13;

/// Prints what ended a command.
fn end(result: Result<Exit, Failure>) -> Exit {
    match result {
        Ok(exit) => exit,
        Err((text, exit)) => {
            eprintln!("scim-relay: {text}");
            exit
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}

/// Reads and parses the configuration, and starts logging.
fn load(path: &Path) -> Result<Config, Failure> {
    let environment = environment();
    telemetry::start(environment.get("RUST_LOG").map(String::as_str));
    // the provider of all TLS; a second installation, as in tests, keeps the first one
    let _ = rustls::crypto::ring::default_provider().install_default();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let path = path.display();
        let way = "write one with `scim-relay config example`, or name it with --config or SCIM_RELAY_CONFIG";
        (format!("the configuration {path} can't be read: {error}; {way}"), Exit::Usage)
    })?;
    let read = |path: &str| std::fs::read_to_string(path);
    Config::parse(&text, &environment, &read)
        .map_err(|error| (format!("{}: {error}", path.display()), Exit::Usage))
}
