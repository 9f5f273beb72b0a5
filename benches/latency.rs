//! How soon a lone event reaches the target: `flush.linger`, and hardly more.

#![allow(clippy::unwrap_used, reason = "a benchmark that can not go on fails")]
#![allow(
    clippy::disallowed_methods,
    reason = "benchmarks are the outside: they own clocks, processes and tasks"
)]

mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use support::broker::Broker;
use support::events;
use support::relay::{Relay, eventually};
use support::report::{Report, quantile};
use support::target::Target;

/// Events, one at a time.
const EVENTS: usize = 101;
/// Users they are about: some are created, most are updated.
const USERS: usize = 20;
/// `flush.linger`, as it is without being configured.
const LINGER: Duration = Duration::from_millis(50);
/// What everything else may take.
const REST: Duration = Duration::from_millis(30);

#[tokio::main]
async fn main() -> ExitCode {
    support::bench("a lone event on an idle relay", measure()).await
}

async fn measure() -> Report {
    let target = Target::start().await;
    let relay = Relay::start(&target.base_url, None, "");
    relay.ready().await;
    let broker = Broker::connect().await;
    let mut waits = Vec::new();
    for n in 0..EVENTS {
        idle(&relay, n).await;
        let before = target.written().len();
        let published = Instant::now();
        broker.publish(&relay.exchange, &events::put(n, USERS)).await;
        let written = target.written_after(before).await;
        waits.push(milliseconds(written.at - published));
    }
    let mut report = Report::default();
    let bound = milliseconds(LINGER + REST);
    report.at_most("from the publish to the target, median", quantile(&waits, 0.5), bound, "ms");
    report.note("from the publish to the target, 90th percentile", quantile(&waits, 0.9), "ms");
    report.note("from the publish to the target, longest", quantile(&waits, 1.0), "ms");
    report
}

/// Until everything before the n-th event is done; then a moment of another length each time, so that no event meets the
/// relay's own rhythm always at the same beat.
async fn idle(relay: &Relay, n: usize) {
    eventually("the relay is idle", async || {
        let merged = relay.metric("scim_relay_events_merged_total", "").await?;
        let pending = relay.metric("scim_relay_resources_pending", "").await?;
        (merged >= n as f64 && pending == 0.0).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis((n as u64 * 37) % 250)).await;
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
