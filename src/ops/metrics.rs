//! Metrics (contract s7): their descriptions and buckets. The names are written where they are counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::Unit;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::core::generation::Cause;
use crate::core::letter::Class;
use crate::core::operation::Method;
use crate::pipeline::ports::Store;
use crate::target::{Observer, Seen};

const SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];
const OPERATIONS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0];

/// Counters and histograms with their help texts.
const COUNTERS: &[(&str, &str)] = &[
    ("scim_relay_events_received_total", "events received from the work queue, by format"),
    ("scim_relay_events_merged_total", "changes merged, by result"),
    ("scim_relay_operations_total", "operations by method and outcome"),
    ("scim_relay_operations_suppressed_total", "resources that were due and needed nothing"),
    ("scim_relay_requests_total", "requests to the target by kind and status"),
    (
        "scim_relay_limiter_wait_seconds_total",
        "whole seconds that requests waited for the budget, all together",
    ),
    ("scim_relay_retries_total", "letters put on the retry ladder, by class"),
    ("scim_relay_dead_letters_total", "dead letters written, by class"),
    (
        "scim_relay_guard_trips_total",
        "how often the guard began to hold deprovisionings, once per hour and type",
    ),
    ("scim_relay_recoveries_total", "recoveries after the store lost something, by reason"),
];

/// Installs the recorder; the handle renders the page.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full("scim_relay_batch_operations".into()), OPERATIONS)?
        .set_buckets(SECONDS)?
        .install_recorder()?;
    for (name, help) in COUNTERS {
        metrics::describe_counter!(*name, *help);
    }
    metrics::describe_histogram!(
        "scim_relay_request_duration_seconds",
        Unit::Seconds,
        "requests to the target by kind"
    );
    metrics::describe_histogram!(
        "scim_relay_event_to_applied_seconds",
        Unit::Seconds,
        "from the event's receipt to the target's answer"
    );
    metrics::describe_histogram!("scim_relay_batch_operations", "operations in a bulk request");
    metrics::describe_gauge!("scim_relay_resources_pending", "resources in the schedule, by lane");
    metrics::describe_gauge!(
        "scim_relay_oldest_pending_seconds",
        Unit::Seconds,
        "how long the oldest one is due, by lane"
    );
    metrics::describe_gauge!("scim_relay_circuit_state", "0 closed, 1 half-open, 2 open");
    metrics::describe_gauge!("scim_relay_dead_letters", "letters in the dead letter queue");
    metrics::describe_gauge!("scim_relay_held_changes", "deprovisionings that wait for an operator");
    metrics::describe_gauge!(
        "scim_relay_retry_waiting",
        "letters on the retry ladder, as far as the broker tells"
    );
    begin_at_zero();
    Ok(handle)
}

/// Counters whose labels are known show themselves before they first count: a rate needs a beginning.
fn begin_at_zero() {
    metrics::counter!("scim_relay_guard_trips_total").absolute(0);
    metrics::counter!("scim_relay_operations_suppressed_total").absolute(0);
    metrics::counter!("scim_relay_limiter_wait_seconds_total").absolute(0);
    for reason in [Cause::Emptied, Cause::Moved] {
        metrics::counter!("scim_relay_recoveries_total", "reason" => reason.name()).absolute(0);
    }
    for format in ["cloudevents", "ignored", "undecodable"] {
        metrics::counter!("scim_relay_events_received_total", "format" => format).absolute(0);
    }
    for result in ["new", "duplicate", "stale"] {
        metrics::counter!("scim_relay_events_merged_total", "result" => result).absolute(0);
    }
    for class in Class::ALL {
        metrics::counter!("scim_relay_dead_letters_total", "class" => class.name()).absolute(0);
        metrics::counter!("scim_relay_retries_total", "class" => class.name()).absolute(0);
    }
    for method in [Method::Post, Method::Put, Method::Patch, Method::Delete] {
        for outcome in ["applied", "retry", "dead", "superseded", "conflict", "unknown"] {
            metrics::counter!("scim_relay_operations_total", "method" => method.name(), "outcome" => outcome)
                .absolute(0);
        }
    }
}

/// Counts requests to the target.
#[derive(Debug, Default)]
pub struct Requests {
    waited_us: AtomicU64,
}

impl Observer for Requests {
    fn request(&self, seen: Seen) {
        let kind = seen.kind.name();
        let status = seen.status.map_or_else(|| "error".to_owned(), |status| status.to_string());
        metrics::counter!("scim_relay_requests_total", "kind" => kind, "status" => status).increment(1);
        metrics::histogram!("scim_relay_request_duration_seconds", "kind" => kind)
            .record(seen.elapsed.as_secs_f64());
    }

    /// Counters are whole numbers: what is less than a second is kept until it is one.
    fn waited(&self, wait: Duration) {
        let wait = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        let all = self.waited_us.fetch_add(wait, Ordering::Relaxed).saturating_add(wait);
        metrics::counter!("scim_relay_limiter_wait_seconds_total").absolute(all / 1_000_000);
    }
}

/// Reads the gauges that all replicas share.
pub async fn refresh<S: Store>(store: &S, now: crate::core::schedule::Millis) {
    if let Ok(circuit) = store.circuit().await {
        metrics::gauge!("scim_relay_circuit_state").set(f64::from(circuit.state(now).number()));
    }
    let Ok(backlog) = store.backlog().await else { return };
    for lane in crate::core::schedule::Lane::ALL {
        let pending = backlog.pending.get(&lane).copied().unwrap_or(0);
        let oldest = backlog.oldest.get(&lane).map_or(0.0, |at| now.since(*at).as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("scim_relay_resources_pending", "lane" => lane.name()).set(pending as f64);
        metrics::gauge!("scim_relay_oldest_pending_seconds", "lane" => lane.name()).set(oldest);
    }
}
