//! Asking before something is changed.

use std::io::{IsTerminal, Write};

use super::Failure;
use crate::cli::Exit;

/// True if it may be done: `--yes` was given, or the operator said so on the terminal.
///
/// # Errors
/// Where nobody can be asked: `--yes` is needed there.
pub(super) fn may(question: &str, yes: bool) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err((format!("{question} Nobody can be asked here: say --yes"), Exit::Usage));
    }
    eprint!("{question} [y/N] ");
    // an answer that can't be read is a no
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer).is_ok();
    Ok(read && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
