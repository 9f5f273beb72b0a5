//! The audit record: one line for each action of an operator that changes something.

use std::collections::BTreeMap;

/// Who acts: the account behind sudo, else the account itself, and the host.
pub fn who(environment: &BTreeMap<String, String>) -> String {
    let said = |name: &str| environment.get(name).filter(|value| !value.is_empty()).cloned();
    let user = said("SUDO_USER").or_else(|| whoami::username().ok()).unwrap_or_else(|| "unknown".into());
    let host = said("HOSTNAME").or_else(|| whoami::hostname().ok()).unwrap_or_else(|| "unknown".into());
    format!("{user}@{host}")
}

/// What an operator did.
#[derive(Clone, Copy, Debug)]
pub struct Act<'a> {
    /// Who.
    pub who: &'a str,
    /// The command.
    pub action: &'a str,
    /// `target.name`.
    pub relay: &'a str,
    /// To what: a filter, IDs, a resource, lanes.
    pub selection: &'a str,
    /// How many that meant.
    pub selected: u64,
    /// How many of them were changed.
    pub done: u64,
    /// What the operator said of it.
    pub reason: Option<&'a str>,
}

/// Logs what was done.
pub fn record(act: &Act<'_>) {
    let Act { who, action, relay, selection, selected, done, reason } = *act;
    let reason = reason.unwrap_or("none given");
    tracing::info!(target: "audit", who, action, relay, selection, selected, done, reason, "an operator acted");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_behind_sudo_is_named() {
        let environment = [("USER", "root"), ("SUDO_USER", "ana"), ("HOSTNAME", "ops-1")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(who(&environment.into()), "ana@ops-1");
    }

    #[test]
    fn an_account_and_a_host_are_known_without_an_environment() {
        let who = who(&BTreeMap::new());
        assert!(
            who.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty()),
            "{who}"
        );
    }
}
