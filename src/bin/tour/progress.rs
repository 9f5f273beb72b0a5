//! Publishes the sample and follows the relay until the target equals the directory, or nothing moves any more.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Result;
use scim_relay::sample::{Difference, Sample, compare};

use crate::metrics::Page;
use crate::processes::Process;
use crate::stage::Stage;

/// Between two looks.
const POLL: Duration = Duration::from_millis(250);
/// Nothing has changed for this long: it will not get better.
const STILL: Duration = Duration::from_secs(20);
/// Whatever happens.
const DEADLINE: Duration = Duration::from_secs(600);
/// What shows that something moves.
const MOVING: [&str; 4] =
    ["events_received_total", "operations_total", "requests_total", "operations_suppressed_total"];

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Messages published.
    pub events: usize,
    /// From the first event published until the target was seen equal, or given up.
    pub elapsed: Duration,
    /// The relay's metrics at the end.
    pub page: Page,
    /// None: the target equals the directory.
    pub differences: Vec<Difference>,
}

/// Publishes all events and waits for the end.
pub async fn follow(stage: &mut Stage, sample: &Sample) -> Result<Outcome> {
    let events = sample.events.len();
    let mut publishing = Some(stage.publish(&sample.events)?);
    let begin = Instant::now();
    let mut movement = Movement { page: Page::default(), at: begin };
    loop {
        tokio::time::sleep(POLL).await;
        stage.check()?;
        publishing = still_publishing(publishing)?;
        let page = Page::parse(&stage.metrics().await?);
        show(&page, events);
        let still = movement.none_since(&page);
        let is_over = still > STILL || begin.elapsed() > DEADLINE;
        let all_received = publishing.is_none() && page.sum("events_received_total") >= events as f64;
        if is_over || (all_received && (page.sum("resources_pending") == 0.0 || still > POLL)) {
            let differences = compare(&sample.expected, &stage.target_state().await?);
            if is_over || differences.is_empty() {
                show_end();
                return Ok(Outcome { events, elapsed: begin.elapsed() - still, page, differences });
            }
        }
    }
}

fn still_publishing(publishing: Option<Process>) -> Result<Option<Process>> {
    let Some(mut process) = publishing else { return Ok(None) };
    Ok(if process.has_succeeded()? { None } else { Some(process) })
}

/// When the counters last moved.
struct Movement {
    page: Page,
    at: Instant,
}

impl Movement {
    fn none_since(&mut self, page: &Page) -> Duration {
        if MOVING.iter().any(|name| self.page.sum(name) != page.sum(name)) {
            self.page = page.clone();
            self.at = Instant::now();
        }
        self.at.elapsed()
    }
}

/// One line that is written over again and again; nothing where nobody watches.
fn show(page: &Page, events: usize) {
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() {
        let sum = |name| page.sum(name);
        let line = format!(
            "{:>6} of {events} events received, {:>5} operations in {:>4} requests, {:>5} resources pending",
            sum("events_received_total").min(events as f64),
            sum("operations_total"),
            sum("requests_total"),
            sum("resources_pending"),
        );
        // progress that can't be shown is no reason to stop
        let _ = write!(terminal, "\r{line}\x1b[K");
    }
}

fn show_end() {
    if std::io::stderr().is_terminal() {
        eprintln!();
    }
}
