//! Two replicas share the switch: pause, breaker and what `status` shows.

use serde_json::{Value, json};

use crate::support::relay::{Relay, eventually};
use crate::support::sandbox::Sandbox;

fn puts(sequence: u64, people: std::ops::Range<usize>) -> Vec<Value> {
    let put = |n| {
        json!({
            "specversion": "1.0", "id": format!("id-{sequence}-{n}"), "source": "/hr", "type": "directory.user.put",
            "subject": format!("e-{n}"), "sequence": sequence.to_string(),
            "data": {"userName": format!("u-{n}"), "title": format!("title {sequence}")},
        })
    };
    people.map(put).collect()
}

/// Two replicas that run.
async fn two(sandbox: &Sandbox, more: &str) -> [Relay; 2] {
    let first = Relay::start(&sandbox.running.base_url().parse().unwrap(), None, more);
    let mut second = first.replica();
    second.run();
    first.ready().await;
    second.ready().await;
    eventually("each knows of the other", async || (status(&first)["replicas"] == 2).then_some(())).await;
    [first, second]
}

fn status(relay: &Relay) -> Value {
    let output = relay.command().args(["status", "--json"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn switched(relay: &Relay, arguments: &[&str]) {
    assert!(relay.command().args(arguments).status().unwrap().success(), "{arguments:?}");
}

/// A counter of each.
async fn counted(relays: &[Relay; 2], name: &str, labels: &str) -> Option<[f64; 2]> {
    Some([relays[0].metric(name, labels).await?, relays[1].metric(name, labels).await?])
}

async fn titles(sandbox: &Sandbox, title: &str) -> usize {
    let state = sandbox.admin("GET", "state", None).await.body;
    state["Users"].as_array().unwrap().iter().filter(|user| user["title"] == title).count()
}

/// Waits until so many probes have failed.
async fn probed_in_vain(sandbox: &Sandbox, count: usize) {
    let failed = |request: &&Value| {
        request["status"] == 500 && request["path"].as_str().unwrap().ends_with("/ServiceProviderConfig")
    };
    eventually(&format!("{count} probes have failed"), async || {
        (sandbox.requests().await.iter().filter(failed).count() >= count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_pause_stops_both_and_a_resume_starts_both() {
    const PEOPLE: usize = 400;
    let sandbox = Sandbox::with_faults(json!({"latency_min_ms": 100, "latency_max_ms": 100})).await;
    let relays = two(&sandbox, "[flush]\nmax_operations = 5\n").await;
    switched(&relays[0], &["pause", "--reason", "a migration of the target"]);
    assert_eq!(status(&relays[1])["stopped"], json!(["deprovision", "create", "update", "members"]));
    eventually("both have heard of it", async || {
        relays.iter().all(|relay| relay.log().contains("an operator stopped")).then_some(())
    })
    .await;
    relays[0].publish(&puts(1, 0..PEOPLE));
    eventually("both go on merging", async || {
        let merged = counted(&relays, "scim_relay_events_merged_total", "result=\"new\"").await?;
        (merged.iter().all(|count| *count > 0.0) && merged.iter().sum::<f64>() == PEOPLE as f64).then_some(())
    })
    .await;
    assert_eq!(status(&relays[1])["pending"]["create"], PEOPLE);
    assert_eq!(sandbox.writes().await, 0);

    switched(&relays[1], &["resume"]);
    eventually("everybody is there", async || (titles(&sandbox, "title 1").await == PEOPLE).then_some(()))
        .await;
    let sent = counted(&relays, "scim_relay_operations_total", "outcome=\"applied\"").await.unwrap();
    assert!(sent.iter().all(|count| *count > 0.0), "one of them sent nothing: {sent:?}");
    assert_eq!(status(&relays[0])["stopped"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_outage_that_one_has_seen_is_known_to_the_other() {
    const PEOPLE: usize = 50;
    let sandbox = Sandbox::with_faults(json!({})).await;
    let relays = two(&sandbox, "").await;
    relays[0].publish(&puts(1, 0..PEOPLE));
    eventually("everybody is there", async || (titles(&sandbox, "title 1").await == PEOPLE).then_some(()))
        .await;
    sandbox.set_faults(json!({"rate_500": 1.0})).await;
    relays[0].publish(&puts(2, 0..1));
    // the first is asked for when the write fails, the second a second later: the other has heard of it by then
    probed_in_vain(&sandbox, 2).await;
    let outage = status(&relays[1]);
    assert!(outage["trouble"] == "down" && outage["circuit"] != "closed", "{outage}");
    let before = sandbox.writes().await;
    relays[0].publish(&puts(2, 1..PEOPLE));
    eventually("both go on merging", async || {
        let merged = counted(&relays, "scim_relay_events_merged_total", "result=\"new\"").await?;
        (merged.iter().sum::<f64>() == 2.0 * PEOPLE as f64).then_some(())
    })
    .await;
    probed_in_vain(&sandbox, 4).await;
    assert_eq!(sandbox.writes().await, before, "nobody writes while the target is down");

    sandbox.set_faults(json!({})).await;
    eventually("everybody has it", async || (titles(&sandbox, "title 2").await == PEOPLE).then_some(()))
        .await;
    let healed = status(&relays[1]);
    assert_eq!((&healed["trouble"], &healed["circuit"]), (&Value::Null, &json!("closed")));
    for name in ["scim_relay_dead_letters_total", "scim_relay_retries_total"] {
        assert_eq!(counted(&relays, name, "").await, Some([0.0, 0.0]), "{name}");
    }
}
