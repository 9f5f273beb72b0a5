//! The journal and the outcomes: streams, read from any place as often as one likes.

use std::future::Future;

use super::{Message, SessionEnded};
use crate::core::schedule::Millis;

/// A message as it lies in a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where.
    pub offset: u64,
    /// What was published.
    pub message: Message,
}

/// From where to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The beginning.
    First,
    /// Everything that was published at this time or later, and perhaps a little that was earlier.
    Time(Millis),
}

/// A stream.
pub trait Stream: Send + Sync + 'static {
    /// What reads it.
    type Reader: StreamReader;

    /// Begins to read.
    fn read(&self, from: From) -> impl Future<Output = Result<Self::Reader, SessionEnded>> + Send;
}

/// Reads a stream from its place on.
pub trait StreamReader: Send + 'static {
    /// Waits for at least one entry, and returns those that are there.
    fn next(&mut self) -> impl Future<Output = Result<Vec<Entry>, SessionEnded>> + Send;
}
