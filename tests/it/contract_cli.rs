//! The command line (contract s4): exit codes, what goes where, errors that name the thing and the way out.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::amqp::Amqp;
use crate::support::relay::{Relay, unique};
use crate::support::sandbox::Sandbox;

/// A relay whose target nobody needs.
fn configured() -> Relay {
    Relay::configured(&"http://127.0.0.1:9/scim/v2".parse().unwrap(), None, "")
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn run(relay: &Relay, arguments: &[&str]) -> Output {
    relay.command().args(arguments).output().unwrap()
}

fn fed(relay: &Relay, lines: &[String]) -> Output {
    let mut command = relay.command();
    command.args(["publish", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn event(kind: &str, data: Value) -> String {
    let id = unique("id");
    json!({"specversion": "1.0", "id": id, "source": "/hr", "type": kind, "subject": "e-1", "sequence": "1", "data": data})
        .to_string()
}

#[test]
fn usage_and_configuration_exit_2_and_say_everything_at_once_on_stderr() {
    let program = || Command::new(env!("CARGO_BIN_EXE_scim-relay"));
    assert_eq!(code(&program().arg("frobnicate").output().unwrap()), 2);
    let missing = program().args(["--config", "/nonexistent/relay.toml", "check"]).output().unwrap();
    assert_eq!(code(&missing), 2);
    assert!(stderr(&missing).contains("config example"), "{}", stderr(&missing));
    let wrong = configured()
        .with("SCIM_RELAY__AMQP__PREFETCH", "0")
        .with("SCIM_RELAY__AMQP__CA_FILE", "/nonexistent/ca.pem")
        .with("SCIM_RELAY__FLUSH__LINGR", "1s")
        .with("SCIM_RELAY__TARGET__AUTH__KIND", "bearer")
        .with("SCIM_RELAY__TARGET__AUTH__TOKEN", r#"{ env = "NOT_THERE" }"#);
    let output = run(&wrong, &["check"]);
    assert_eq!((code(&output), stdout(&output).as_str()), (2, ""));
    let told = stderr(&output);
    for (key, why) in [
        ("amqp.prefetch", "must be a whole number"),
        ("amqp.ca_file", "`/nonexistent/ca.pem` can't be read"),
        ("SCIM_RELAY__FLUSH__LINGR", "flush.linger"),
        ("target.auth.token", "`NOT_THERE` is not set"),
    ] {
        assert!(told.lines().any(|line| line.contains(key) && line.contains(why)), "{key}: {why}\n{told}");
    }
}

#[test]
fn what_can_not_be_reached_exits_3_and_is_named_without_its_password() {
    let relay = configured()
        .with("SCIM_RELAY__AMQP__URL", "amqp://me:sesame@127.0.0.1:9/%2f")
        .with("SCIM_RELAY__REDIS__URL", "redis://me:sesame@127.0.0.1:9/0");
    let output = run(&relay, &["check", "--json"]);
    assert_eq!(code(&output), 3);
    let items: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let verdict =
        |check: &str| items.iter().find(|item| item["check"] == check).map(|item| item["verdict"].clone());
    assert_eq!(
        ["configuration", "broker", "store", "target"].map(verdict),
        ["ok", "failed", "failed", "failed"].map(|v| Some(json!(v)))
    );
    assert!(stdout(&output).contains("127.0.0.1:9") && !stdout(&output).contains("sesame"), "{items:#?}");
    for command in ["status", "publish"] {
        let output = run(&relay, if command == "publish" { &["publish", "/dev/null"] } else { &["status"] });
        assert_eq!((code(&output), stdout(&output).as_str()), (3, ""), "{command}");
        assert!(
            stderr(&output).contains("127.0.0.1:9") && !stderr(&output).contains("sesame"),
            "{}",
            stderr(&output)
        );
    }
}

#[tokio::test]
async fn a_line_that_is_wrong_or_routed_nowhere_fails_and_the_rest_goes_on() {
    let relay = configured();
    let lines = [
        event("directory.user.put", json!({"userName": "confidential"})),
        "no JSON".to_owned(),
        String::new(),
        json!({"specversion": "1.0", "id": "1"}).to_string(),
        event("directory.device.put", json!({"serial": "confidential"})),
        event("directory.group.put", json!({})),
    ];
    let nowhere = fed(&relay, &lines[..1]);
    assert_eq!((code(&nowhere), stdout(&nowhere).as_str()), (1, "0 published, 1 failed\n"));
    assert!(stderr(&nowhere).contains("topology apply"), "{}", stderr(&nowhere));
    assert_eq!(code(&run(&relay, &["topology", "apply"])), 0);
    let output = fed(&relay, &lines);
    assert_eq!((code(&output), stdout(&output).as_str()), (1, "2 published, 3 failed\n"));
    let told = stderr(&output);
    let failed: Vec<&str> = told.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(failed, ["line 2", "line 4", "line 5"], "{told}");
    assert!(!told.contains("confidential"), "{told}");
    let amqp = Amqp::connect().await;
    let first = amqp.take(&relay.object("work")).await;
    assert_eq!(
        (first.routing_key.as_str(), first.body.as_slice()),
        ("directory.user.put", lines[0].as_bytes())
    );
    let id = serde_json::from_str::<Value>(&lines[0]).unwrap()["id"].clone();
    assert_eq!(first.properties.message_id().as_ref().map(|id| json!(id.as_str())), Some(id));
}

#[tokio::test]
async fn of_two_lines_with_one_id_only_the_one_that_is_routed_nowhere_fails() {
    let relay = configured();
    assert_eq!(code(&run(&relay, &["topology", "apply"])), 0);
    let line = |kind: &str| {
        let id = json!({"specversion": "1.0", "id": "1", "source": "/hr", "type": kind, "subject": "e-1"});
        id.to_string()
    };
    let lines = [line("directory.user.put"), line("directory.device.put"), line("directory.group.put")];
    let output = fed(&relay, &lines);
    assert_eq!((code(&output), stdout(&output).as_str()), (1, "2 published, 1 failed\n"));
    assert!(stderr(&output).starts_with("line 2: "), "{}", stderr(&output));
    assert_eq!(Amqp::connect().await.count(&relay.object("work")).await, 2);
}

#[tokio::test]
async fn intents_enter_at_intake_and_overtake_when_they_deprovision() {
    let relay = configured();
    assert_eq!(code(&run(&relay, &["topology", "apply"])), 0);
    let revision = json!({"sequence": "1", "id": "1", "hash": "00".repeat(32)});
    let intents = [
        event("directory.user.intent", json!({"origin": "replay"})),
        event("directory.user.intent", json!({"origin": "replay", "lifecycle": {"deleted": revision}})),
    ];
    let output = fed(&relay, &intents);
    assert_eq!((code(&output), stdout(&output).as_str()), (0, "2 published, 0 failed\n"));
    let amqp = Amqp::connect().await;
    let urgent = amqp.take(&relay.object("urgent")).await;
    assert_eq!(
        (urgent.exchange, urgent.routing_key.as_str()),
        (relay.object("intake"), "directory.user.intent.urgent")
    );
    assert_eq!(amqp.count(&relay.object("work")).await, 2, "all that is to be merged is in work");
}

#[tokio::test]
async fn check_is_content_with_what_works() {
    let sandbox = Sandbox::with_faults(json!({})).await;
    let relay = Relay::configured(&sandbox.running.base_url().parse().unwrap(), None, "");
    let mut check = relay.command();
    // the sandbox lives on this thread, which must stay free
    let checked = tokio::task::spawn_blocking(move || check.arg("check").output());
    let output = checked.await.unwrap().unwrap();
    assert_eq!(code(&output), 0, "{}", stdout(&output));
    assert_eq!(stdout(&output).lines().count(), 7, "{}", stdout(&output));
    assert_eq!(sandbox.writes().await, 0);
}

#[test]
fn whoever_has_read_enough_ends_a_command_without_a_word() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = configured().command();
    let output = command.args(["config", "schema"]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (141, ""));
}
