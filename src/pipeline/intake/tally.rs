//! Counting what arrives and what it merges to.

/// The counters of every event, looked up once.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) events: metrics::Counter,
    pub(super) ignored: metrics::Counter,
    pub(super) undecodable: metrics::Counter,
    pub(super) new: metrics::Counter,
    pub(super) duplicate: metrics::Counter,
    pub(super) stale: metrics::Counter,
}

impl Default for Counters {
    fn default() -> Self {
        let received = |format| metrics::counter!("scim_relay_events_received_total", "format" => format);
        let merged = |result| metrics::counter!("scim_relay_events_merged_total", "result" => result);
        Self {
            events: received("cloudevents"),
            ignored: received("ignored"),
            undecodable: received("undecodable"),
            new: merged("new"),
            duplicate: merged("duplicate"),
            stale: merged("stale"),
        }
    }
}

/// How many changes merged to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::pipeline) struct Tally {
    pub new: u64,
    pub duplicate: u64,
    pub stale: u64,
}
