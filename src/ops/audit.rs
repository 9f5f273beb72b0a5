//! The audit record: one line for each action of an operator that changes something.

use std::collections::BTreeMap;

/// Who acts, as far as the environment tells.
pub fn who(environment: &BTreeMap<String, String>) -> String {
    let first = |names: &[&str]| names.iter().find_map(|name| environment.get(*name)).cloned();
    let user = first(&["SUDO_USER", "USER", "LOGNAME"]).unwrap_or_else(|| "unknown".into());
    match first(&["HOSTNAME", "HOST"]) {
        Some(host) => format!("{user}@{host}"),
        None => user,
    }
}

/// Logs what was done. `selection`: to what; `count`: how many; `reason`: what the operator said of it.
pub fn record(who: &str, action: &str, selection: &str, count: u64, reason: Option<&str>) {
    tracing::info!(
        target: "audit",
        who,
        action,
        selection,
        count,
        reason = reason.unwrap_or("none given"),
        "an operator acted"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_behind_sudo_is_named() {
        let environment = [("USER", "root"), ("SUDO_USER", "ana"), ("HOSTNAME", "ops-1")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(who(&environment.into()), "ana@ops-1");
        assert_eq!(who(&BTreeMap::new()), "unknown");
    }
}
