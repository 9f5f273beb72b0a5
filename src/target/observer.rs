//! What is told about every request, for metrics.

use std::time::Duration;

/// Why a request was made (contract s7, label `kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// POST to /Bulk.
    Bulk,
    /// One operation.
    Single,
    /// A query or a GET of one resource.
    Lookup,
    /// ServiceProviderConfig.
    Discovery,
    /// The token endpoint.
    Token,
}

impl RequestKind {
    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            RequestKind::Bulk => "bulk",
            RequestKind::Single => "single",
            RequestKind::Lookup => "lookup",
            RequestKind::Discovery => "discovery",
            RequestKind::Token => "token",
        }
    }
}

/// One request as it went: resends count one by one, what was not sent does not count unless a connection was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Why.
    pub kind: RequestKind,
    /// The answer's status; none when there was no answer.
    pub status: Option<u16>,
    /// From the first connection attempt to the end of the answer.
    pub elapsed: Duration,
    /// Bytes of the body sent.
    pub sent_bytes: usize,
    /// Bytes of the body received.
    pub received_bytes: usize,
}

/// Is told about every request.
pub trait Observer: Send + Sync + 'static {
    /// A request has ended. Must be quick.
    fn request(&self, seen: Seen);

    /// A request has waited for its place in the budget, however short. Must be quick.
    fn waited(&self, wait: Duration) {
        let _ = wait;
    }
}

impl<F: Fn(Seen) + Send + Sync + 'static> Observer for F {
    fn request(&self, seen: Seen) {
        self(seen);
    }
}
