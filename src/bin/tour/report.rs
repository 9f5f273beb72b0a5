//! The summary, and where to look further.

use std::collections::BTreeMap;

use crate::progress::Outcome;
use crate::stage::Stage;

/// How many differences are worth reading.
const MAX_DIFFERENCES: usize = 10;

/// Prints what happened and whether the target equals the directory.
pub fn print(outcome: &Outcome) {
    let page = &outcome.page;
    let seconds = outcome.elapsed.as_secs_f64();
    line("events", outcome.events as f64, "");
    line("operations", page.sum("operations_total"), &listed(&page.by("operations_total", "method")));
    line("requests", page.sum("requests_total"), &listed(&page.by("requests_total", "kind")));
    line("suppressed", page.sum("operations_suppressed_total"), "due, and nothing had to be sent");
    line("retries", page.sum("retries_total"), &listed(&page.by("retries_total", "class")));
    line("dead letters", page.sum("dead_letters_total"), &listed(&page.by("dead_letters_total", "class")));
    line("events/second", (outcome.events as f64 / seconds).round(), &format!("{seconds:.1} s in all"));
    if outcome.differences.is_empty() {
        println!("The sandbox equals the expected directory.");
        return;
    }
    println!("The sandbox is NOT the expected directory: {} differences", outcome.differences.len());
    for difference in outcome.differences.iter().take(MAX_DIFFERENCES) {
        println!("  {difference}");
    }
}

fn line(name: &str, value: f64, remark: &str) {
    println!("  {name:<14} {value:>7}   {remark}");
}

fn listed(sums: &BTreeMap<String, f64>) -> String {
    let items: Vec<String> = sums.iter().map(|(name, value)| format!("{name} {value}")).collect();
    items.join(", ")
}

/// Prints where everything is, while it stays up.
pub fn where_to_look(stage: &Stage) {
    println!("\nEverything stays up until Ctrl-C:");
    println!("  relay     {}/metrics  /livez  /readyz", stage.admin_url);
    println!("  sandbox   {}/scim/v2/Users  /_sandbox/state  /_sandbox/requests", stage.sandbox_url);
    println!("  RabbitMQ  {}", stage.amqp_url);
    println!("  Redis     {}", stage.redis_url);
    println!("  files     {}  (relay.toml, events.ndjson, logs)", stage.files.path().display());
}
