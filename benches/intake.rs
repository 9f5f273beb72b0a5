//! How fast the relay takes events in, beside the simplest consumer that the same machine can run.

#![allow(clippy::unwrap_used, reason = "a benchmark that can not go on fails")]
#![allow(
    clippy::disallowed_methods,
    reason = "benchmarks are the outside: they own clocks, processes and tasks"
)]

mod support;

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use support::broker::Broker;
use support::events;
use support::relay::{Relay, eventually};
use support::report::{Report, quantile};
use support::target::Target;

/// Times that both drain the queue, in turn: what else the machine does should meet both.
const ROUNDS: usize = 3;
/// Events in the queue each time.
const EVENTS: usize = 60_000;
/// Users they are about.
const USERS: usize = 5_000;
/// `amqp.prefetch`, as it is without being configured.
const PREFETCH: u16 = 500;
/// The least share of the bare consumer's rate.
const LEAST: f64 = 0.3;
/// Between two looks at the relay's counters: each of them costs the relay, Redis and RabbitMQ something.
const POLL: Duration = Duration::from_millis(250);

#[tokio::main]
async fn main() -> ExitCode {
    support::bench("sustained intake beside a bare consumer", measure()).await
}

async fn measure() -> Report {
    let target = Target::start().await;
    let mut relay = Relay::configured(&target.base_url, None, "");
    run(relay.command().args(["topology", "apply"]));
    let broker = Broker::connect().await;
    let work = format!("scim-relay.{}.work", relay.target);
    let (mut bare, mut merged) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let events: Vec<_> = (0..EVENTS).map(|n| events::put(round * EVENTS + n, USERS)).collect();
        relay.publish(&events);
        bare.push(EVENTS as f64 / broker.drain(&work, EVENTS, PREFETCH).await.as_secs_f64());
        relay.publish(&events);
        merged.push(merge(&mut relay).await);
    }
    let bytes = events::put(EVENTS, USERS).to_string().len();
    let mut report = Report::default();
    report.note("an event", bytes as f64, "bytes");
    let (bare, merged) = (quantile(&bare, 0.5), quantile(&merged, 0.5));
    report.note("a bare consumer, median", bare, "events/s");
    report.note("merged by the relay, median", merged, "events/s");
    report.at_least("the relay's share of it", merged / bare, LEAST, "");
    report
}

/// Starts the relay on its full queue and stops it when all is merged and written; says how many it merged per second.
async fn merge(relay: &mut Relay) -> f64 {
    relay.run();
    let merged = async |relay: &Relay| {
        relay.metric("scim_relay_events_merged_total", "").await.filter(|merged| *merged > 0.0)
    };
    let first = eventually("the first events are merged", async || merged(relay).await).await;
    let begin = Instant::now();
    // until the last look before the end: when exactly it ended nobody saw
    let (mut last, mut elapsed) = (first, Duration::ZERO);
    loop {
        tokio::time::sleep(POLL).await;
        match merged(relay).await {
            Some(seen) if seen < EVENTS as f64 => (last, elapsed) = (seen, begin.elapsed()),
            Some(_) => break,
            None => {}
        }
    }
    let rate = (last - first) / elapsed.as_secs_f64();
    relay.settled(EVENTS).await;
    relay.signal("-TERM");
    relay.ended().await;
    rate
}

fn run(command: &mut Command) {
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
}
