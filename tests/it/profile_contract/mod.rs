//! The contract tests of profiles: the sandbox plays the provider that a profile describes, and the relay, which has the same profile,
//! gets through. A profile is `verified` by them.

mod directory;
mod rates;
mod refusals;
mod scenario;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use scim_relay::target::profile::shipped;

use crate::support::provider::profile;

/// The profiles that are played here.
const TESTED: [&str; 6] =
    ["generic", "nice-cxone", "genesys-cloud", "aws-identity-center", "keycloak", "scim2-server"];

#[test]
fn verified_are_the_profiles_with_a_contract_test() {
    let verified: Vec<&str> = shipped().filter(|name| profile(name).verified).collect();
    assert_eq!(verified, TESTED);
}

fn sandbox(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scim-relay"));
    command.args(["sandbox", "--listen", "127.0.0.1:0"]).args(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

#[test]
fn the_command_says_where_the_provider_is() {
    let files = tempfile::tempdir().unwrap();
    let own = files.path().join("own.toml");
    std::fs::write(&own, "base_path = \"/tenants/{tenant}/scim\"\n").unwrap();
    for (profile, path) in
        [("keycloak", "/realms/realm/scim/v2"), (own.to_str().unwrap(), "/tenants/tenant/scim")]
    {
        let mut child = sandbox(&["--profile", profile]).spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap()).lines().next().unwrap().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(said.starts_with("listening on http://127.0.0.1:") && said.ends_with(path), "{said}");
    }
}

#[test]
fn a_profile_that_is_none_is_wrong_usage() {
    for (profile, told) in [("okta", "is no shipped profile"), ("./none.toml", "can't be read")] {
        let output = sandbox(&["--profile", profile]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains(told), "{said}");
    }
}
