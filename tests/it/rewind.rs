//! `rewind`: the journal is merged again into the live store, and what it touches is read at the target.

use serde_json::{Value, json};

use crate::support::dead::{Said, dead, letters_of, run};
use crate::support::events::event;
use crate::support::relay::{Relay, eventually};
use crate::support::sandbox::{Sandbox, patch};

async fn stage(more: &str) -> (Sandbox, Relay) {
    let sandbox = Sandbox::with_faults(json!({})).await;
    let relay = Relay::start(&sandbox.running.base_url().parse().unwrap(), None, more);
    relay.ready().await;
    (sandbox, relay)
}

fn put(sequence: usize, n: usize, title: &str) -> Value {
    let name = format!("u{n}@example.com");
    event(sequence, "user.put", &format!("e-{n}"), json!({"userName": name, "title": title}))
}

fn rewind(relay: &Relay, arguments: &[&str]) -> Said {
    run(relay, &[&["rewind", "--since", "1h"], arguments].concat())
}

fn done(relay: &Relay, arguments: &[&str]) -> Said {
    let said = rewind(relay, &[&["--yes", "--reason", "the target was restored"], arguments].concat());
    assert_eq!(said.code, 0, "{said:?}");
    said
}

async fn users(sandbox: &Sandbox) -> Vec<Value> {
    sandbox.admin("GET", "state", None).await.body["Users"].as_array().unwrap().clone()
}

/// Waits until the target has users of these titles, by user name.
async fn titled(sandbox: &Sandbox, titles: &[Value]) {
    eventually(&format!("the titles are {titles:?}"), async || {
        let mut users = users(sandbox).await;
        users.sort_by_key(|user| user["userName"].to_string());
        (users.iter().map(|user| &user["title"]).eq(titles)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_target_that_was_emptied_or_edited_is_brought_back() {
    let (sandbox, relay) = stage("").await;
    relay.publish(&[put(1, 1, "Clerk"), put(2, 2, "Clerk"), put(3, 1, "Chief")]);
    titled(&sandbox, &[json!("Chief"), json!("Clerk")]).await;
    // an edit of one, and the other is gone
    let now = users(&sandbox).await;
    let id = |name: &str| {
        let user = now.iter().find(|user| user["userName"] == name).unwrap();
        user["id"].as_str().unwrap().to_owned()
    };
    let edit = patch("replace", "title", json!("Intruder"));
    let edited = sandbox.scim("PATCH", &format!("/Users/{}", id("u1@example.com")), Some(edit)).await;
    assert!(edited.status < 300, "{edited:?}");
    let gone = sandbox.scim("DELETE", &format!("/Users/{}", id("u2@example.com")), None).await;
    assert_eq!(gone.status, 204);
    let said = done(&relay, &[]);
    assert!(said.out.starts_with("3 events of 2 resources since "), "{said:?}");
    assert!(said.err.contains("\"rewind\"") && said.err.contains("the target was restored"), "{said:?}");
    titled(&sandbox, &[json!("Chief"), json!("Clerk")]).await;

    // all of it is gone, and one is brought back alone
    sandbox.admin("DELETE", "state", None).await;
    let said = done(&relay, &["--resource", "User/e-2"]);
    assert!(said.out.starts_with("1 events of 1 resources since "), "{said:?}");
    titled(&sandbox, &[json!("Clerk")]).await;
    done(&relay, &[]);
    titled(&sandbox, &[json!("Chief"), json!("Clerk")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_is_dead_held_rejected_or_discarded_stays_so() {
    let guard = "[deprovision]\nguard = { max_per_hour = 1, max_percent = 100, min_resources = 0 }\n";
    let (sandbox, relay) = stage(guard).await;
    relay.publish(&[put(1, 1, "Clerk"), put(2, 2, "Clerk"), put(3, 3, "Clerk"), put(4, 4, "Clerk")]);
    titled(&sandbox, &[json!("Clerk"), json!("Clerk"), json!("Clerk"), json!("Clerk")]).await;
    sandbox.set_faults(json!({"poison": "u1", "poison_status": 400})).await;
    relay.publish(&[put(5, 1, "Chief"), put(6, 5, "Clerk")]);
    letters_of(&relay, 1).await;
    let odd = json!({"Operations": [{"op": "replace", "path": "emails[0]", "value": "x"}]});
    relay.publish(&[event(7, "user.patch", "e-2", odd)]);
    letters_of(&relay, 2).await;
    // one leaves, of the others one is rejected and one is held
    for n in [2, 3, 4] {
        relay.publish(&[event(10 + n, "user.deactivate", &format!("e-{n}"), json!(null))]);
        let held = n.saturating_sub(2) as f64;
        eventually("it is deactivated or held", async || {
            let inactive = users(&sandbox).await.iter().any(|user| user["active"] == false);
            (inactive && relay.metric("scim_relay_held_changes", "").await? == held).then_some(())
        })
        .await;
    }
    let rejected = run(&relay, &["held", "reject", "--yes", "--resource", "User/e-3"]);
    assert_eq!(rejected.code, 0, "{rejected:?}");
    assert_eq!(dead(&relay, &["discard", "--yes", "--class", "invalid"]).code, 0);
    sandbox.set_faults(json!({})).await;

    let before = users(&sandbox).await;
    for forgotten in [false, true] {
        if forgotten {
            // nobody but the journal knows of the decisions any more
            for n in [1, 3, 4] {
                assert_eq!(run(&relay, &["forget", "--yes", &format!("User/e-{n}")]).code, 0);
            }
        }
        done(&relay, &[]);
        eventually("all is looked at", async || {
            (relay.metric("scim_relay_resources_pending", "").await? == 0.0).then_some(())
        })
        .await;
        let after = users(&sandbox).await;
        let states = |users: &[Value]| {
            let state = |user: &Value| json!([user["userName"], user["title"], user["active"]]);
            users.iter().map(state).collect::<Vec<_>>()
        };
        assert_eq!(states(&after), states(&before), "forgotten: {forgotten}");
        assert_eq!(letters_of(&relay, 1).await[0]["class"], "unsupported_patch");
        assert_eq!(relay.metric("scim_relay_held_changes", "").await, Some(1.0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_dry_run_counts_and_writes_nothing() {
    let (sandbox, relay) = stage("").await;
    relay.publish(&[put(1, 1, "Clerk"), put(3, 1, "Chief"), put(2, 1, "Clerk"), put(4, 2, "Clerk")]);
    titled(&sandbox, &[json!("Chief"), json!("Clerk")]).await;
    eventually("nothing is pending", async || {
        (relay.metric("scim_relay_resources_pending", "").await? == 0.0).then_some(())
    })
    .await;
    let requests = sandbox.requests().await.len();
    let counts = |expected: &str, relay: &Relay| {
        let said = rewind(relay, &["--dry-run"]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(
            said.out.starts_with("4 events of 2 resources since ") && said.out.contains(expected),
            "{said:?}"
        );
    };
    counts("0 would be new, 2 known, 2 stale; 0 resources differ from what was applied", &relay);
    assert_eq!(run(&relay, &["forget", "--yes", "User/e-2"]).code, 0);
    for _ in 0..2 {
        counts("1 would be new, 1 known, 2 stale; 1 resources differ from what was applied", &relay);
    }
    let explained = run(&relay, &["explain", "User/e-2"]);
    assert!(explained.out.contains("nothing is known"), "{explained:?}");
    let asked = sandbox.requests().await.split_off(requests);
    assert!(asked.iter().all(|request| request["path"] == "/scim/v2/ServiceProviderConfig"), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_rewind_wants_a_word_and_says_what_is_wrong() {
    let (_sandbox, relay) = stage("").await;
    let is_usage = |said: Said, why: &str| assert!(said.code == 2 && said.err.contains(why), "{said:?}");
    is_usage(rewind(&relay, &[]), "say --yes");
    is_usage(rewind(&relay, &["--yes", "--resource", "nobody"]), "User/e-10042");
    is_usage(run(&relay, &["rewind", "--yes"]), "--since");
    is_usage(
        run(&relay, &["rewind", "--yes", "--since", "yesterday"]),
        "neither a time (RFC 3339) nor an age",
    );
    for arguments in [["--yes", "--resource", "User/nobody"], ["--dry-run", "--resource", "User/nobody"]] {
        let said = rewind(&relay, &arguments);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.out.contains("no event of User/nobody since "), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn without_a_relay_that_ever_ran_there_is_nothing_to_rewind() {
    let relay = Relay::configured(&"http://127.0.0.1:9/scim/v2".parse().unwrap(), None, "");
    assert_eq!(run(&relay, &["topology", "apply"]).code, 0);
    let said = rewind(&relay, &["--yes"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("no relay has run with this store yet"), "{said:?}");
}
