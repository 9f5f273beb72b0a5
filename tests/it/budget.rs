//! One budget over all replicas: what the target sees, by the sandbox' own record of it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::relay::{Relay, eventually, unique};
use crate::support::sandbox::Sandbox;

/// A request as the sandbox saw it: when, in microseconds, and what it answered.
#[derive(Clone, Copy, Debug)]
struct Seen {
    at: i64,
    status: u64,
    operations: u64,
}

async fn seen(sandbox: &Sandbox) -> Vec<Seen> {
    let requests = sandbox.requests().await;
    let seen = requests.iter().map(|request| Seen {
        at: request["at"].as_str().unwrap().parse::<Timestamp>().unwrap().as_microsecond(),
        status: request["status"].as_u64().unwrap(),
        operations: request["operations"].as_u64().unwrap(),
    });
    let mut seen: Vec<Seen> = seen.collect();
    seen.sort_by_key(|seen| seen.at);
    seen
}

/// The most in any second, by what each counts.
fn most_in_a_second(seen: &[Seen], counts: impl Fn(&Seen) -> u64) -> u64 {
    let from = |first: usize| seen[first..].iter().take_while(move |it| it.at < seen[first].at + 1_000_000);
    (0..seen.len()).map(|first| from(first).map(&counts).sum()).max().unwrap_or(0)
}

/// Requests per second between two times.
fn rate(seen: &[Seen], from: i64, to: i64) -> f64 {
    let count = seen.iter().filter(|it| (from..to).contains(&it.at)).count();
    count as f64 * 1e6 / (to - from) as f64
}

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

/// Replicas that run.
async fn replicas(sandbox: &Sandbox, count: usize, more: &str) -> Vec<Relay> {
    let mut all = vec![Relay::start(&sandbox.running.base_url().parse().unwrap(), None, more)];
    while all.len() < count {
        let mut another = all[0].replica();
        another.run();
        all.push(another);
    }
    for relay in &all {
        relay.ready().await;
    }
    all
}

fn status(relay: &Relay, arguments: &[&str]) -> String {
    let output = relay.command().arg("status").args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn titles(sandbox: &Sandbox, title: &str) -> usize {
    let state = sandbox.admin("GET", "state", None).await.body;
    state["Users"].as_array().unwrap().iter().filter(|user| user["title"] == title).count()
}

async fn everybody_has(sandbox: &Sandbox, people: usize, title: &str) {
    eventually(&format!("everybody has {title}"), async || {
        (titles(sandbox, title).await == people).then_some(())
    })
    .await;
}

fn now() -> i64 {
    Timestamp::now().as_microsecond()
}

const FIFTY: &str = "[flush]\nmode = \"single\"\nlinger = \"5ms\"\n[limits]\nrequests = \"50/s\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn four_replicas_keep_to_one_rate_and_use_it() {
    const PEOPLE: usize = 700;
    let sandbox = Sandbox::with_faults(json!({"latency_min_ms": 5, "latency_max_ms": 40})).await;
    let relays = replicas(&sandbox, 4, FIFTY).await;
    relays[0].publish(&puts(1, 0..PEOPLE));
    everybody_has(&sandbox, PEOPLE, "title 1").await;
    let all = seen(&sandbox).await;
    let first_write = all.iter().find(|it| it.operations > 0).unwrap().at;
    let last_write = all.iter().rev().find(|it| it.operations > 0).unwrap().at;
    let used = rate(&all, first_write, last_write - 1_000_000);
    let most = most_in_a_second(&all, |_| 1);
    println!("{} requests, {used:.1} a second, at most {most} in any second", all.len());
    assert!(most <= 50, "{most} requests in one second");
    assert!(used > 45.0, "{used:.1} requests a second while work was pending");
    let text = status(&relays[3], &[]);
    assert!(text.contains("budget       50 requests/s (configured)"), "{text}");
    let mut waited = 0.0;
    for relay in &relays {
        waited += relay.metric("scim_relay_limiter_wait_seconds_total", "").await.unwrap();
    }
    assert!(waited > 5.0, "{waited} s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn all_replicas_honour_retry_after_and_an_outage_is_not_made_up_for_at_once() {
    const PEOPLE: usize = 400;
    const RETRY_AFTER: i64 = 3;
    let sandbox = Sandbox::with_faults(json!({"latency_min_ms": 5, "latency_max_ms": 20})).await;
    let relays = replicas(&sandbox, 4, FIFTY).await;
    relays[0].publish(&puts(1, 0..PEOPLE));
    eventually("it writes", async || (sandbox.writes().await > 60).then_some(())).await;
    sandbox.set_faults(json!({"rate_429": 1.0, "retry_after": RETRY_AFTER})).await;
    eventually("it is told to wait", async || sandbox.statuses().await.contains(&429).then_some(())).await;
    let told = seen(&sandbox).await.iter().find(|it| it.status == 429).unwrap().at;
    sandbox.set_faults(json!({})).await;
    everybody_has(&sandbox, PEOPLE, "title 1").await;
    let all = seen(&sandbox).await;
    // those that were under way, and those of replicas that have not heard of it
    let heard = told + 300_000;
    let too_early = all.iter().filter(|it| (heard..told + RETRY_AFTER * 1_000_000).contains(&it.at)).count();
    assert_eq!(too_early, 0, "requests during the pause");

    sandbox.set_faults(json!({"rate_503": 1.0, "retry_after_form": "none"})).await;
    relays[0].publish(&puts(2, 0..PEOPLE));
    eventually("the outage is seen", async || (status(&relays[0], &[]).contains("(down)")).then_some(()))
        .await;
    sandbox.set_faults(json!({})).await;
    let healed = now();
    everybody_has(&sandbox, PEOPLE, "title 2").await;
    let all = seen(&sandbox).await;
    let most = most_in_a_second(&all, |_| 1);
    let after = all.iter().filter(|it| it.at > healed).count();
    println!("{} requests, {after} since it healed, at most {most} in any second", all.len());
    assert!(most <= 50, "{most} requests in one second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_rate_that_is_learnt_is_the_providers() {
    const PEOPLE: usize = 1_200;
    const LIMIT: f64 = 40.0;
    let sandbox = Sandbox::with_faults(json!({"requests_per_second": LIMIT as u64})).await;
    let relays = replicas(&sandbox, 2, "[flush]\nmode = \"single\"\nlinger = \"5ms\"\n").await;
    let status_of = || serde_json::from_str::<Value>(&status(&relays[1], &["--json"])).unwrap();
    assert_eq!(status_of()["budget"], json!({"source": "none", "requests": null, "operations": null}));
    relays[0].publish(&puts(1, 0..PEOPLE));
    everybody_has(&sandbox, PEOPLE, "title 1").await;
    let all = seen(&sandbox).await;
    let first = all.iter().find(|it| it.status == 429).expect("it was told that this is too much").at;
    let last = all.last().unwrap().at;
    let refused = all.iter().filter(|it| it.status == 429).count();
    // the first seconds are spent on finding it
    let used = rate(&all, first + 8_000_000, last - 1_000_000);
    let budget = status_of()["budget"].clone();
    println!("{} requests, {refused} refused, {used:.1} a second, {budget}", all.len());
    assert_eq!(budget["source"], "learnt");
    assert!(refused * 20 < all.len(), "{refused} of {} requests were refused", all.len());
    assert!((0.6 * LIMIT..1.1 * LIMIT).contains(&used), "{used:.1} requests a second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn operations_of_bulk_requests_count_one_by_one() {
    const PEOPLE: usize = 600;
    let sandbox = Sandbox::with_faults(json!({})).await;
    let relays = replicas(&sandbox, 2, "[limits]\noperations = \"100/s\"\n").await;
    relays[0].publish(&puts(1, 0..PEOPLE));
    everybody_has(&sandbox, PEOPLE, "title 1").await;
    let all = seen(&sandbox).await;
    let most = most_in_a_second(&all, |it| it.operations);
    println!("{} requests, at most {most} operations in any second", all.len());
    assert!(most <= 100, "{most} operations in one second");
    assert!(all.iter().any(|it| it.operations > 5), "they go in bulk");
}

/// How long it takes until these are inactive.
async fn leave(sandbox: &Sandbox, relay: &Relay, people: &[usize]) -> Duration {
    let leaver = |n: &usize| {
        json!({
            "specversion": "1.0", "id": unique("leave"), "source": "/hr", "type": "directory.user.deactivate",
            "subject": format!("e-{n}"), "sequence": "9",
        })
    };
    relay.publish(&people.iter().map(leaver).collect::<Vec<Value>>());
    let published = tokio::time::Instant::now();
    eventually("the leavers are inactive", async || {
        let state = sandbox.admin("GET", "state", None).await.body;
        let inactive =
            state["Users"].as_array().unwrap().iter().filter(|user| user["active"] == false).count();
        (inactive == people.len()).then_some(())
    })
    .await;
    published.elapsed()
}

const SLOW: &str = "[flush]\nmode = \"single\"\nlinger = \"5ms\"\n[limits]\nrequests = \"20/s\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_deprovisions_goes_before_what_waits_for_the_budget() {
    const PEOPLE: usize = 150;
    let sandbox = Sandbox::with_faults(json!({})).await;
    let relays = replicas(&sandbox, 2, SLOW).await;
    relays[0].publish(&puts(1, 0..20));
    everybody_has(&sandbox, 20, "title 1").await;
    relays[0].publish(&puts(2, 10..PEOPLE));
    eventually("others wait", async || (titles(&sandbox, "title 2").await > 5).then_some(())).await;
    let took = leave(&sandbox, &relays[1], &[5]).await;
    let waiting = PEOPLE - 10 - titles(&sandbox, "title 2").await;
    println!("{took:?}, {waiting} others were waiting");
    assert!(waiting > 20, "only {waiting} were still waiting");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn who_is_to_leave_does_not_wait_for_a_turn_among_the_others() {
    const PEOPLE: usize = 100;
    let sandbox = Sandbox::with_faults(json!({})).await;
    let relays = replicas(&sandbox, 2, SLOW).await;
    relays[0].publish(&puts(1, 0..PEOPLE));
    everybody_has(&sandbox, PEOPLE, "title 1").await;
    relays[0].publish(&puts(2, 0..PEOPLE));
    eventually("others wait", async || (titles(&sandbox, "title 2").await > 5).then_some(())).await;
    let took = leave(&sandbox, &relays[1], &[60, 70, 80, 90]).await;
    let waiting = PEOPLE - 4 - titles(&sandbox, "title 2").await;
    println!("{took:?}, {waiting} others were waiting");
    assert!(waiting > 20, "only {waiting} were still waiting");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn what_waits_for_the_budget_says_so() {
    let sandbox = Sandbox::with_faults(json!({})).await;
    let more = "[flush]\nmode = \"single\"\n[limits]\nrequests = \"1/h\"";
    let mut relay = Relay::configured(&sandbox.running.base_url().parse().unwrap(), None, more);
    relay.run();
    relay.ready().await;
    relay.publish(&puts(1, 0..3));
    eventually("somebody waits for the budget", async || {
        let output = relay.command().args(["explain", "User/e-2", "--json"]).output().unwrap();
        let explained: Value = serde_json::from_slice(&output.stdout).ok()?;
        let waits = explained["waits_for"].as_array()?.iter();
        waits.into_iter().find(|wait| wait["what"] == "budget").map(drop)
    })
    .await;
}
