//! Asking before something is changed, saying how far it has come, and the audit record of it.

use std::io::{BufRead, IsTerminal, Write};

use super::desk::Desk;
use super::selection::Selection;
use crate::app::Failure;
use crate::cli::{Change, Exit};
use crate::ops::audit::{self, Act};

/// Asks on a terminal; elsewhere only `--yes` will do.
pub(super) fn confirm(change: &Change, question: &str) -> Result<(), Failure> {
    if change.yes {
        return Ok(());
    }
    let (input, mut output) = (std::io::stdin(), std::io::stderr());
    if !input.is_terminal() || !output.is_terminal() {
        return Err((format!("{question}? nobody can be asked here: say --yes"), Exit::Usage));
    }
    let asked = write!(output, "{question}? [y/N] ").and_then(|()| output.flush());
    let mut answer = String::new();
    let read = asked.and_then(|()| input.lock().read_line(&mut answer));
    match read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
        true => Ok(()),
        false => Err(("nothing was changed".into(), Exit::Usage)),
    }
}

/// What was changed.
pub(super) struct Record<'a> {
    pub(super) what: &'a str,
    pub(super) selection: &'a Selection,
    pub(super) change: &'a Change,
    pub(super) selected: usize,
    pub(super) done: usize,
}

/// Writes the audit record.
pub(super) fn record(desk: &Desk, record: &Record<'_>) {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    audit::record(&Act {
        who: &desk.who,
        action: record.what,
        relay: &desk.settings.target,
        selection: &record.selection.describe(),
        selected: count(record.selected),
        done: count(record.done),
        reason: record.change.reason.as_deref(),
    });
}

/// How far something has come; only on a terminal.
pub(super) struct Progress {
    word: &'static str,
    of: usize,
    shown: bool,
}

impl Progress {
    pub(super) fn of(word: &'static str, of: usize) -> Self {
        Self { word, of, shown: std::io::stderr().is_terminal() }
    }

    pub(super) fn at(&mut self, done: usize) {
        if self.shown {
            eprint!("\r{done} of {} {}", self.of, self.word);
        }
    }

    pub(super) fn end(self) {
        if self.shown {
            eprint!("\r{:60}\r", "");
        }
    }
}
