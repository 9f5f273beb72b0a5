//! Dead letters from the real delivery to the operator, and back to applied.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::dead::{Said, dead, letters, letters_of};
use crate::support::relay::{Relay, eventually};
use crate::support::sandbox::Sandbox;

/// A sandbox that refuses users whose name holds `bad`, and a relay for it.
async fn refusing() -> (Sandbox, Relay) {
    let sandbox = Sandbox::with_faults(json!({"poison": "bad", "poison_status": 400})).await;
    let relay = Relay::start(&sandbox.running.base_url().parse().unwrap(), None, "");
    relay.ready().await;
    (sandbox, relay)
}

fn event(sequence: u64, kind: &str, subject: &str, data: Value) -> Value {
    json!({
        "specversion": "1.0", "id": format!("e{sequence}-{subject}"), "source": "/hr",
        "type": format!("directory.{kind}"), "subject": subject, "sequence": sequence.to_string(), "data": data,
    })
}

fn put(sequence: u64, subject: &str, name: &str) -> Value {
    event(sequence, "user.put", subject, json!({"userName": name}))
}

async fn arrives(sandbox: &Sandbox, name: &str) {
    eventually(&format!("{name} arrives"), async || {
        sandbox.user_names().await.iter().any(|known| known == name).then_some(())
    })
    .await;
}

fn id(letter: &Value) -> String {
    letter["id"].as_str().unwrap().to_owned()
}

/// The verdicts of a plan.
fn verdicts(relay: &Relay) -> Vec<Value> {
    let planned = dead(relay, &["plan", "--json"]);
    assert_eq!(planned.code, 0, "{planned:?}");
    planned.documents().iter().map(|letter| letter["verdict"].clone()).collect()
}

fn replayed(relay: &Relay, arguments: &[&str]) -> Said {
    let said = dead(relay, &[&["replay", "--yes"], arguments].concat());
    assert_eq!(said.code, 0, "{said:?}");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_refused_user_is_shown_and_after_the_cause_is_gone_replayed() {
    let (sandbox, relay) = refusing().await;
    relay.publish(&[put(1, "e-1", "bad@example.com")]);
    let letter = letters_of(&relay, 1).await.remove(0);
    assert_eq!(
        (&letter["class"], &letter["http_status"], &letter["resource"]),
        (&json!("invalid"), &json!(400), &json!("User/e-1"))
    );
    let summary = dead(&relay, &["summary", "--json"]).documents().remove(0);
    assert_eq!((&summary["count"], &summary["operation"]), (&json!(1), &json!("POST /Users")));
    assert_eq!(summary["example"], letter["id"]);
    let shown = dead(&relay, &["show", &id(&letter)]);
    assert!(shown.out.contains("bad@example.com") && shown.out.contains("create"), "{shown:?}");
    sandbox.set_faults(json!({})).await;
    let said = replayed(&relay, &["--class", "invalid", "--reason", "ticket 7"]);
    arrives(&sandbox, "bad@example.com").await;
    assert!(said.out.contains("invalid"), "{said:?}");
    let audit = said.err.lines().find(|line| line.contains("\"audit\"")).expect("an audit record");
    assert!(audit.contains("ticket 7") && audit.contains("class=invalid"), "{audit}");
    assert!(letters(&relay).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_is_dead_is_explained_by_its_letter() {
    let (sandbox, relay) = refusing().await;
    relay.publish(&[put(1, "e-1", "bad@example.com")]);
    let letter = letters_of(&relay, 1).await.remove(0);
    let explained = |format: &[&str]| {
        let output = relay.command().args(["explain", "User/e-1"]).args(format).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let document = || serde_json::from_str::<Value>(&explained(&["--json"])).unwrap();
    eventually("it is buried", async || (document()["withheld"]["userName"] == "dead").then_some(())).await;
    let said = document();
    let failure = json!({
        "class": "invalid", "http_status": 400, "attempt": 1, "last_failed_at": letter["last_failed_at"],
    });
    assert_eq!(said["last_failure"], failure, "{said:#}");
    let mut shown = letter.clone();
    shown["queue"] = json!("dead");
    assert_eq!(said["letters"], json!([shown]));
    let text = explained(&[]);
    assert!(text.contains("failure    invalid, status 400, attempt 1, 20"), "{text}");
    assert!(text.contains(&format!("letter     {} in `dead`, invalid, 20", id(&letter))), "{text}");
    assert_eq!(dead(&relay, &["discard", "--yes", "--all"]).code, 0);
    assert_eq!(document()["letters"][0]["queue"], "parked");
    // what is newer goes through, and the old failure says nothing any more
    sandbox.set_faults(json!({})).await;
    relay.publish(&[put(2, "e-1", "good@example.com")]);
    arrives(&sandbox, "good@example.com").await;
    eventually("nothing is withheld", async || (document()["withheld"] == json!({})).then_some(())).await;
    assert_eq!(document()["last_failure"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_letter_whose_cause_remains_is_dead_again_with_its_count() {
    let (_sandbox, relay) = refusing().await;
    relay.publish(&[put(1, "e-1", "bad@example.com")]);
    letters_of(&relay, 1).await;
    let said = dead(&relay, &["replay", "--yes", "--all", "--json"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(said.documents()[0]["dead"], 1, "{said:?}");
    let letter = letters_of(&relay, 1).await.remove(0);
    assert_eq!(letter["replays"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_superseded_letter_writes_nothing() {
    let (sandbox, relay) = refusing().await;
    let ana = |sequence, title| {
        event(sequence, "user.put", "e-1", json!({"userName": "ana@example.com", "title": title}))
    };
    relay.publish(&[ana(1, "Clerk")]);
    arrives(&sandbox, "ana@example.com").await;
    sandbox.set_faults(json!({"poison": "ana", "poison_status": 400})).await;
    relay.publish(&[ana(2, "Typo")]);
    letters_of(&relay, 1).await;
    sandbox.set_faults(json!({})).await;
    assert_eq!(verdicts(&relay), ["update"]);
    relay.publish(&[ana(3, "Chief")]);
    relay.settled(3).await;
    assert_eq!(verdicts(&relay), ["superseded"]);
    let before = sandbox.writes().await;
    let said = replayed(&relay, &["--all", "--json"]);
    assert_eq!(said.documents()[0]["superseded"], 1, "{said:?}");
    relay.settled(4).await;
    assert_eq!(sandbox.writes().await, before);
    let state = sandbox.admin("GET", "state", None).await.body;
    assert_eq!(state["Users"][0]["title"], "Chief");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_dead_create_does_not_resurrect_who_was_deleted_meanwhile() {
    let (sandbox, relay) = refusing().await;
    relay.publish(&[put(1, "e-1", "bad@example.com")]);
    letters_of(&relay, 1).await;
    relay.publish(&[event(2, "user.delete", "e-1", Value::Null)]);
    relay.settled(2).await;
    sandbox.set_faults(json!({})).await;
    assert_eq!(verdicts(&relay), ["superseded"]);
    replayed(&relay, &["--all"]);
    relay.settled(3).await;
    assert!(sandbox.user_names().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_discarded_letter_comes_back_as_it_was() {
    let (sandbox, relay) = refusing().await;
    relay.publish(&[put(1, "e-1", "bad@example.com")]);
    let letter = letters_of(&relay, 1).await.remove(0);
    let said = dead(&relay, &["discard", "--yes", &id(&letter)]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(letters(&relay).is_empty());
    assert_eq!(dead(&relay, &["list", "--parked", "--json"]).documents(), std::slice::from_ref(&letter));
    let said = dead(&relay, &["restore", "--yes", "--all"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(letters(&relay), [letter]);
    sandbox.set_faults(json!({})).await;
    replayed(&relay, &["--all"]);
    arrives(&sandbox, "bad@example.com").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_exported_letter_is_corrected_and_published_under_a_newer_revision() {
    let (sandbox, relay) = refusing().await;
    relay.publish(&[put(1, "e-1", "bad@example.com")]);
    let letter = letters_of(&relay, 1).await.remove(0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("letters.ndjson");
    let said = dead(&relay, &["export", "--all", "--output", file.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text
        .replace("bad@example.com", "good@example.com")
        .replace("\"sequence\":\"1\"", "\"sequence\":\"2\"");
    std::fs::write(&file, text).unwrap();
    assert!(relay.command().arg("publish").arg(&file).output().unwrap().status.success());
    arrives(&sandbox, "good@example.com").await;
    assert_eq!(verdicts(&relay), ["superseded"]);
    // as it was it comes too late by now
    let exported = dead(&relay, &["export", "--all"]).out;
    std::fs::write(&file, exported).unwrap();
    let refused = relay.command().arg("publish").arg(&file).output().unwrap();
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(
        refused.status.code() == Some(1) && told.starts_with("line 1: superseded: something newer"),
        "{told}"
    );
    assert_eq!(dead(&relay, &["discard", "--yes", &id(&letter)]).code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_changes_something_wants_a_choice_and_a_yes() {
    let (_sandbox, relay) = refusing().await;
    relay.publish(&[put(1, "e-1", "bad@example.com")]);
    let letter = letters_of(&relay, 1).await.remove(0);
    for action in ["replay", "discard", "restore"] {
        let said = dead(&relay, &[action, "--yes"]);
        assert_eq!(said.code, 2, "{said:?}");
    }
    let said = dead(&relay, &["replay", "--all"]);
    assert!(said.code == 2 && said.err.contains("--yes"), "{said:?}");
    assert_eq!(dead(&relay, &["discard", "--yes", "no-such-letter"]).code, 1);
    assert_eq!(dead(&relay, &["list", "--class", "nonsense"]).code, 2);
    assert_eq!(letters(&relay), [letter]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_replay_that_is_killed_loses_nothing() {
    let (sandbox, relay) = refusing().await;
    let events: Vec<Value> =
        (0..60).map(|n| put(1, &format!("e-{n}"), &format!("bad-{n}@example.com"))).collect();
    relay.publish(&events);
    letters_of(&relay, 60).await;
    sandbox.set_faults(json!({})).await;
    let mut replay = relay.command();
    let mut replay = replay.args(["dead", "replay", "--all", "--yes", "--rate", "10"]).spawn().unwrap();
    eventually("some are replayed", async || (sandbox.user_names().await.len() > 3).then_some(())).await;
    // SIGKILL
    replay.kill().unwrap();
    replay.wait().unwrap();
    let there = sandbox.user_names().await.len();
    assert!(there < 60, "it was killed too late: {there}");
    replayed(&relay, &["--all"]);
    eventually("all are there", async || (sandbox.user_names().await.len() == 60).then_some(())).await;
    assert!(letters(&relay).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_replay_whose_outcome_is_not_known_yet_says_so() {
    let (sandbox, mut relay) = refusing().await;
    relay.publish(&[put(1, "e-1", "bad@example.com")]);
    letters_of(&relay, 1).await;
    sandbox.set_faults(json!({})).await;
    assert!(relay.command().arg("pause").output().unwrap().status.success());
    eventually("it has heard of it", async || relay.log().contains("an operator stopped").then_some(()))
        .await;
    let said = dead(&relay, &["replay", "--yes", "--all", "--json", "--wait", "1s"]);
    assert_eq!((said.code, &said.documents()[0]["pending"]), (1, &json!(1)), "{said:?}");
    assert!(said.err.contains("1 letters are still pending"), "{said:?}");
    // nothing is left to replay, and the earlier letter is still on its way
    let said = dead(&relay, &["replay", "--yes", "--all"]);
    assert!(said.code == 0 && said.err.contains("1 still pending"), "{said:?}");
    assert!(relay.command().arg("resume").output().unwrap().status.success());
    arrives(&sandbox, "bad@example.com").await;
    sandbox.set_faults(json!({"poison": "worse", "poison_status": 400})).await;
    relay.publish(&[put(1, "e-2", "worse@example.com")]);
    letters_of(&relay, 1).await;
    relay.signal("-TERM");
    relay.ended().await;
    eventually("nobody counts it as alive", async || {
        let status = relay.command().args(["status", "--json"]).output().unwrap();
        (serde_json::from_slice::<Value>(&status.stdout).unwrap()["replicas"] == 0).then_some(())
    })
    .await;
    let said = dead(&relay, &["replay", "--yes", "--all"]);
    assert!(said.code == 0 && said.err.contains("no relay has said"), "{said:?}");
    assert!(said.out.contains("1 still pending"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_replay_stops_after_failures_and_leaves_the_rest() {
    let (_sandbox, relay) = refusing().await;
    let events: Vec<Value> =
        (0..9).map(|n| put(1, &format!("e-{n}"), &format!("bad-{n}@example.com"))).collect();
    relay.publish(&events);
    letters_of(&relay, 9).await;
    let said = dead(&relay, &["replay", "--all", "--yes", "--stop-after-failures", "2"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("2 letters replayed, 7 of the selected ones left"), "{said:?}");
    let letters = letters_of(&relay, 9).await;
    assert_eq!(letters.iter().filter(|letter| letter["replays"] == 1).count(), 2);
    let canary = dead(&relay, &["plan", "--limit", "3", "--json"]);
    assert_eq!(canary.documents().len(), 3, "{canary:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_canary_replays_the_oldest_at_its_rate_and_touches_nothing_else() {
    let (sandbox, relay) = refusing().await;
    for n in 0..5 {
        relay.publish(&[put(1, &format!("e-{n}"), &format!("bad-{n}@example.com"))]);
        letters_of(&relay, n + 1).await;
    }
    let before = letters(&relay);
    sandbox.set_faults(json!({"poison": "late", "poison_status": 400})).await;
    let mut replay = relay.command();
    let began = std::time::Instant::now();
    replay.args(["dead", "replay", "--class", "invalid", "--limit", "3", "--rate", "2", "--yes"]);
    let replay = replay.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn();
    let replay = replay.unwrap();
    // what comes meanwhile stays, though it is of the class that was chosen
    relay.publish(&[put(1, "e-9", "late@example.com")]);
    let output = replay.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        began.elapsed() >= std::time::Duration::from_secs(1),
        "three at two a second: {:?}",
        began.elapsed()
    );
    let after = letters_of(&relay, 3).await;
    assert_eq!(after[..2], before[3..], "those that were not selected are as they were");
    assert_eq!((&after[2]["resource"], &after[2]["replays"]), (&json!("User/e-9"), &json!(0)));
    let there = sandbox.user_names().await;
    assert!((0..3).all(|n| there.contains(&format!("bad-{n}@example.com"))) && there.len() == 3, "{there:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_changes_something_is_told_in_an_audit_record() {
    let (sandbox, relay) = refusing().await;
    relay.publish(&[put(1, "e-1", "ana@example.com"), put(1, "e-2", "bad@example.com")]);
    arrives(&sandbox, "ana@example.com").await;
    letters_of(&relay, 1).await;
    for (arguments, action, selection) in [
        (&["pause", "--lane", "members"][..], "pause", "members"),
        (&["resume"], "resume", "deprovision create update members"),
        (&["verify", "User/e-1"], "verify", "User/e-1"),
        (&["verify", "--all"], "verify", "--all"),
        (&["dead", "discard", "--status", "400", "--yes"], "dead discard", "status=400"),
        (&["dead", "restore", "--all", "--yes"], "dead restore", "all"),
        (&["dead", "replay", "--all", "--yes"], "dead replay", "all"),
        (&["forget", "User/e-1", "--yes"], "forget", "User/e-1"),
    ] {
        let output = relay.command().args(arguments).args(["--reason", "ticket 7"]).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        let records: Vec<Value> = told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let record = records.iter().rfind(|record| record["target"] == "audit");
        let record = record.unwrap_or_else(|| panic!("{arguments:?}: {told}"));
        let said = ["action", "selection", "reason"].map(|name| record[name].clone());
        assert_eq!(said, [action, selection, "ticket 7"].map(|text| json!(text)), "{told}");
        assert!(record["who"].as_str().unwrap().contains('@') && record["done"].is_u64(), "{told}");
    }
}
