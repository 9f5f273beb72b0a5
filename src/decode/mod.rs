//! Decode: bytes and properties of a delivery become a change. Pure; one file per format (contract s2).

pub mod cloudevent;
pub mod intent;
mod patch;
mod put;
pub mod verdict;

use std::time::Duration;

use crate::core::change::Change;
use crate::core::letter::Class;
use crate::core::resource::ResourceKey;
use crate::core::revision::Revision;
use crate::core::schedule::Millis;

/// What a delivery holds, as far as decoding needs it.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The body.
    pub body: &'a [u8],
    /// `content-type`.
    pub content_type: Option<&'a str>,
    /// The AMQP timestamp.
    pub timestamp: Option<Millis>,
    /// It came through the publishers' exchange: the relay's own types are refused then.
    pub from_publishers: bool,
    /// `x-relay-attempt` of a returning letter; 0 otherwise.
    pub attempt: u32,
    /// `x-relay-replays` of a letter or verdict, if it has one.
    pub round: Option<u32>,
}

/// Limits of decoding.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest body, in bytes.
    pub max_event_bytes: usize,
    /// How far ahead an event ordered by time alone may lie.
    pub max_clock_skew: Duration,
}

/// What a delivery says.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded {
    /// A change of one resource.
    Change(Box<Change>),
    /// A decision about earlier revisions.
    Verdict(Box<verdict::Verdict>),
    /// Recognised, and not for us.
    Ignored,
    /// No decoder accepts it.
    Refused(Refusal),
}

/// Why a delivery becomes a dead letter.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The class.
    pub class: Class,
    /// What is wrong, without attribute values.
    pub detail: String,
    /// Whose, as far as it could be read.
    pub resource: Option<ResourceKey>,
    /// The event's `id`, as far as it could be read.
    pub event_id: Option<String>,
    /// Its place in the source's order, where only the rest is wrong.
    pub revision: Option<Box<Revision>>,
}

impl Refusal {
    fn new(class: Class, detail: impl Into<String>) -> Self {
        Self { class, detail: detail.into(), resource: None, event_id: None, revision: None }
    }

    fn decode(detail: impl Into<String>) -> Self {
        Self::new(Class::Decode, detail)
    }

    fn at(self, revision: &Revision) -> Self {
        Self { revision: Some(Box::new(revision.clone())), ..self }
    }
}

/// Decodes one delivery.
pub fn decode(input: &Input<'_>, limits: &Limits, now: Millis) -> Decoded {
    match cloudevent::decode(input, limits, now) {
        Ok(decoded) => decoded,
        Err(refusal) => Decoded::Refused(refusal),
    }
}

#[cfg(test)]
mod tests;
