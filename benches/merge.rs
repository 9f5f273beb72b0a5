//! What intake computes for one event, step by step, without any service: where a change of its rate comes from.

#![allow(clippy::unwrap_used, reason = "a benchmark that can not go on fails")]
#![allow(
    clippy::disallowed_methods,
    reason = "benchmarks are the outside: they own clocks, processes and tasks"
)]

mod support;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use scim_relay::core::change::Change;
use scim_relay::core::record::Record;
use scim_relay::core::schedule::Millis;
use scim_relay::decode::{Decoded, Input, Limits, decode};
use support::events;
use support::report::Report;

/// Times that each step is done.
const TIMES: u32 = 20_000;

#[tokio::main]
async fn main() -> ExitCode {
    support::bench("the computing for one event", async { measure() }).await
}

fn measure() -> Report {
    let report = Report::default();
    let (first, second) = (events::put(0, 1).to_string(), events::put(1, 1).to_string());
    let change = decoded(&second);
    let mut record = Record::default();
    record.merge(&decoded(&first), &BTreeMap::new());
    let stored = serde_json::to_string(&record).unwrap();
    report.note("decode", micros(|| decoded(&second)), "µs");
    report.note("read the record", micros(|| serde_json::from_str::<Record>(&stored).unwrap()), "µs");
    report.note("merge into a copy of it", micros(|| record.clone().merge(&change, &BTreeMap::new())), "µs");
    report.note("that copy alone", micros(|| record.clone()), "µs");
    report.note("write it", micros(|| serde_json::to_string(&record).unwrap()), "µs");
    report
}

fn decoded(event: &str) -> Change {
    let input = Input {
        body: event.as_bytes(),
        content_type: Some("application/cloudevents+json"),
        timestamp: None,
        from_publishers: true,
        attempt: 0,
        round: None,
    };
    let limits = Limits { max_event_bytes: 1 << 20, max_clock_skew: Duration::from_secs(600) };
    match decode(&input, &limits, Millis(1_800_000_000_000)) {
        Decoded::Change(change) => *change,
        other => panic!("{other:?}"),
    }
}

/// The least of several times: whatever else the machine does only adds to it.
fn micros<T>(mut step: impl FnMut() -> T) -> f64 {
    let mut took = || {
        let begin = Instant::now();
        for _ in 0..TIMES / 20 {
            black_box(step());
        }
        begin.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES / 20)
    };
    (0..20).map(|_| took()).fold(f64::INFINITY, f64::min)
}
