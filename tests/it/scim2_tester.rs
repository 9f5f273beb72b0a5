//! The sandbox judged by a tool that nobody here wrote: `scim2-tester`, by way of `scim2-cli`.

use std::process::{Command, Stdio};

use scim_relay::sandbox::{Running, SandboxOptions, start};

use crate::support::scim2_server::python_bin;

/// What it checks of a provider with the core and the enterprise schema; scim2-tester 0.5.2 has 138 checks for this one. Many fewer
/// would mean that it did not find the resources.
const CHECKS: usize = 130;

/// Exit code, standard output and standard error of `scim2 test`.
async fn judge(sandbox: &Running, token: Option<&str>) -> (Option<i32>, String, String) {
    let program = python_bin().join("scim2");
    let mut command = Command::new(&program);
    command.args(["-u", &sandbox.base_url(), "test"]).stdin(Stdio::null()).env("NO_COLOR", "1");
    command.env_remove("SCIM_CLI_HEADERS");
    if let Some(token) = token {
        command.env("SCIM_CLI_HEADERS", format!("Authorization: Bearer {token}"));
    }
    let run = move || {
        command
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}; run `scripts/python-tools`", program.display()))
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

async fn is_found_faultless(options: SandboxOptions, token: Option<&str>) {
    let sandbox = start(options).await.unwrap();
    let (code, verdict, errors) = judge(&sandbox, token).await;
    // every check is a line that begins with its result, and perhaps an indented one with the reason
    let results = || verdict.lines().skip(1).filter(|line| !line.is_empty() && !line.starts_with(' '));
    let objections: Vec<&str> = results().filter(|line| !line.starts_with("SUCCESS ")).collect();
    assert!(objections.is_empty(), "{objections:#?}\n{verdict}\n{errors}");
    assert_eq!(code, Some(0), "{verdict}\n{errors}");
    assert!(results().count() >= CHECKS, "only {} checks:\n{verdict}", results().count());
}

#[tokio::test]
async fn scim2_tester_has_no_objection() {
    is_found_faultless(SandboxOptions::on_any_port(), None).await;
}

#[tokio::test]
async fn scim2_tester_has_no_objection_where_a_token_is_required() {
    let options = SandboxOptions { token: Some("T".to_owned()), ..SandboxOptions::on_any_port() };
    is_found_faultless(options, Some("T")).await;
}

#[tokio::test]
async fn scim2_tester_objects_to_a_provider_with_faults() {
    let sandbox = start(SandboxOptions { token: Some("T".to_owned()), ..SandboxOptions::on_any_port() });
    let (code, verdict, _) = judge(&sandbox.await.unwrap(), Some("wrong")).await;
    assert_ne!(code, Some(0), "{verdict}");
}
