//! What a backlog costs the target: one write per resource that is other than the backlog says, in full bulk requests.

#![allow(clippy::unwrap_used, reason = "a benchmark that can not go on fails")]
#![allow(
    clippy::disallowed_methods,
    reason = "benchmarks are the outside: they own clocks, processes and tasks"
)]

mod support;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use scim_relay::sample::{Size, compare, generate};
use serde_json::Value;
use support::relay::{Relay, eventually};
use support::report::Report;
use support::target::{Kind, Target, Written};

/// Resources: so many users, so many groups.
const SIZE: Size = Size { people: 4_750, groups: 250, events: EARLIER + BACKLOG, managers: false };
/// Events that make the target what it is before.
const EARLIER: usize = 10_000;
/// Events that wait in the queue when the relay starts.
const BACKLOG: usize = 50_000;
/// `flush.max_operations`, as it is without being configured.
const MAX_OPERATIONS: f64 = 500.0;
/// Most operations per resource that differs.
const PER_RESOURCE: f64 = 1.05;
/// Most requests per full request.
const PER_FULL_REQUEST: f64 = 1.2;
/// The target rests when nothing was written for so long.
const REST: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> ExitCode {
    support::bench("a backlog of 50,000 events over 5,000 resources", measure()).await
}

async fn measure() -> Report {
    let sample = generate(1, SIZE);
    let (earlier, backlog) = sample.events.split_at(EARLIER);
    let target = Target::start().await;
    let mut relay = Relay::start(&target.base_url, None, "");
    relay.ready().await;
    relay.publish(earlier);
    at_rest(&target).await;
    relay.signal("-TERM");
    relay.ended().await;
    let (before, requests_before) = (target.state().await, target.written().len());
    relay.publish(backlog);
    let begin = Instant::now();
    relay.run();
    relay.settled(backlog.len()).await;
    let took = begin.elapsed();
    let after = target.state().await;
    let mut report = judge(&before, &after, &target.written()[requests_before..]);
    report.note("from the start of the relay to the end", took.as_secs_f64(), "s");
    report.holds("the target equals the directory", compare(&sample.expected, &after).is_empty());
    report
}

fn judge(before: &Value, after: &Value, written: &[Written]) -> Report {
    let mut report = Report::default();
    let count = |kind| written.iter().map(|request| request.count(kind)).sum::<usize>() as f64;
    let counted = count(Kind::Create) + count(Kind::Update);
    let differing = differing(before, after) as f64;
    // deprovisioning goes at once and alone: full requests are not its aim
    let patient: Vec<&Written> = written
        .iter()
        .filter(|request| request.count(Kind::Deprovision) < request.operations.len())
        .collect();
    let operations = patient.iter().map(|request| request.operations.len()).sum::<usize>() as f64;
    let bulk = patient.iter().filter(|request| request.bulk).count() as f64;
    report.note("resources that differ", differing, "");
    report.note("operations that create", count(Kind::Create), "");
    report.note("operations that update", count(Kind::Update), "");
    report.note("chunks of members, counted apart", count(Kind::Members), "");
    report.note("operations that deprovision, counted apart", count(Kind::Deprovision), "");
    report.note("requests with nothing but those", (written.len() - patient.len()) as f64, "");
    report.note("other bulk requests", bulk, "");
    report.at_most("operations per resource that differs", counted / differing, PER_RESOURCE, "");
    let requests = bulk / (operations / MAX_OPERATIONS);
    report.at_most("bulk requests per full request", requests, PER_FULL_REQUEST, "");
    report
}

/// Until nothing was written for a while. Some resources wait: their `put` is still to come.
async fn at_rest(target: &Target) {
    eventually("the target rests", async || {
        target.written().last().filter(|written| written.at.elapsed() > REST).map(drop)
    })
    .await;
}

/// How many resources differ in anything but what is counted apart: members, and `active` that became false.
fn differing(before: &Value, after: &Value) -> usize {
    let (before, after) = (resources(before), resources(after));
    after.iter().filter(|(id, resource)| before.get(*id).is_none_or(|old| differ(old, resource))).count()
}

fn resources(state: &Value) -> BTreeMap<&str, &Value> {
    let lists = ["Users", "Groups"].into_iter().flat_map(|kind| state[kind].as_array().into_iter().flatten());
    lists.map(|resource| (resource["id"].as_str().unwrap(), resource)).collect()
}

fn differ(before: &Value, after: &Value) -> bool {
    let is_counted = |name: &str| !["meta", "members", "groups", "active"].contains(&name);
    let attributes = |resource: &Value| -> BTreeMap<String, Value> {
        let attributes = resource.as_object().unwrap().clone().into_iter();
        attributes.filter(|(name, _)| is_counted(name)).collect()
    };
    let revived = before["active"] == false && after["active"] != false;
    revived || attributes(before) != attributes(after)
}
