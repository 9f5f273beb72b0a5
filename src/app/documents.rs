//! What needs no configuration: its own documents, completions, the sandbox.

use super::{end, environment, failed};
use crate::cli::Exit;
use crate::ops::{shutdown, telemetry};

/// `config schema`.
pub fn config_schema() -> Exit {
    match serde_json::to_string_pretty(&crate::config::document::schema()) {
        Ok(schema) => {
            println!("{schema}");
            Exit::Done
        }
        Err(error) => end(Err(failed(error))),
    }
}

/// `config example`.
pub fn config_example() -> Exit {
    print!("{}", crate::config::document::example());
    Exit::Done
}

/// `sandbox`.
pub async fn sandbox(options: crate::sandbox::SandboxOptions) -> Exit {
    telemetry::start(environment().get("RUST_LOG").map(String::as_str));
    let served = async {
        let stop = shutdown::on_signal().map_err(failed)?;
        crate::sandbox::serve(options, stop).await.map_err(failed)?;
        Ok(Exit::Done)
    };
    end(served.await)
}

/// `completions`.
pub fn completions(shell: clap_complete::Shell) -> Exit {
    use clap::CommandFactory;
    clap_complete::generate(shell, &mut crate::cli::Cli::command(), "scim-relay", &mut std::io::stdout());
    Exit::Done
}
