//! A change's place in the source's order (contract s2.1): (class, sequence, time, id, hash), compared left to right.

use std::cmp::Ordering;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The text of `sequence`. Digits compare by value at any length and below anything else, anything else bytewise.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(Arc<str>);

impl Sequence {
    /// Any text is a sequence, the empty one is none.
    pub fn new(text: impl Into<Arc<str>>) -> Option<Self> {
        let text = text.into();
        (!text.is_empty()).then_some(Self(text))
    }

    /// The text as it came.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_digits(&self) -> bool {
        self.0.bytes().all(|b| b.is_ascii_digit())
    }

    fn value(&self) -> &str {
        self.0.trim_start_matches('0')
    }
}

impl Ord for Sequence {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.0 == other.0 {
            return Ordering::Equal;
        }
        match (self.is_digits(), other.is_digits()) {
            (true, true) => (self.value().len(), self.value()).cmp(&(other.value().len(), other.value())),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => self.0.as_bytes().cmp(other.0.as_bytes()),
        }
    }
}

impl PartialOrd for Sequence {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sequence {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Sequence {}

/// SHA-256 of the canonical event: the last word where all else is equal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventHash([u8; 32]);

impl EventHash {
    /// The digest's bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for EventHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(&self.0[..4]))
    }
}

impl TryFrom<String> for EventHash {
    type Error = hex::FromHexError;
    fn try_from(text: String) -> Result<Self, hex::FromHexError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl From<EventHash> for String {
    fn from(hash: EventHash) -> String {
        hex::encode(hash.0)
    }
}

/// The place of a change in the source's order. Copies share it: each register of an event has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(Arc<Place>);

impl Ord for Revision {
    fn cmp(&self, other: &Self) -> Ordering {
        match self.is_same(other) {
            true => Ordering::Equal,
            false => self.0.cmp(&other.0),
        }
    }
}

impl PartialOrd for Revision {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Revision {
    /// True if both share one place in memory: then they are equal, and nothing needs to be compared.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A change's place.
    pub fn new(place: Place) -> Self {
        Self(Arc::new(place))
    }
}

impl Deref for Revision {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.0
    }
}

/// What a revision is made of. Field order is comparison order: `None` is lowest.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The source's counter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Sequence>,
    /// The source's clock, to the nanosecond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// The event's `id`.
    pub id: Arc<str>,
    /// SHA-256 of the canonical event.
    pub hash: EventHash,
}

/// Revisions for tests.
#[cfg(test)]
pub(crate) mod testing {
    use super::{EventHash, Place, Revision, Sequence};

    /// The nth of a source that counts.
    pub fn rev(n: u64) -> Revision {
        let hash = EventHash::new([0; 32]);
        Revision::new(Place { sequence: Sequence::new(n.to_string()), time: None, id: "e".into(), hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sequence: &str, time: Option<i64>, id: &str, hash: u8) -> Revision {
        Revision::new(Place {
            sequence: Sequence::new(sequence),
            time: time.map(|s| Timestamp::from_second(s).unwrap()),
            id: id.into(),
            hash: EventHash::new([hash; 32]),
        })
    }

    #[test]
    fn revisions_are_ordered_by_class_sequence_time_id_and_hash() {
        let ascending = [
            at("", None, "b", 0),
            at("", Some(1), "a", 0),
            at("", Some(2), "a", 0),
            at("0", None, "a", 0),
            at("9", Some(1), "a", 0),
            at("0010", None, "a", 0),
            at("10", Some(1), "a", 0),
            at("10", Some(1), "a", 1),
            at("10", Some(1), "b", 0),
            at("99999999999999999999999999", None, "a", 0),
            at("10a", None, "a", 0),
            at("1a", None, "a", 0),
        ];
        for pair in ascending.windows(2) {
            assert!(pair[0] < pair[1], "{:?} < {:?}", pair[0], pair[1]);
        }
    }

    #[test]
    fn leading_zeros_do_not_make_another_sequence() {
        assert_eq!(at("007", None, "a", 0), at("7", None, "a", 0));
    }

    #[test]
    fn a_revision_survives_json() {
        let revision = at("12", Some(5), "e", 7);
        let text = serde_json::to_string(&revision).unwrap();
        assert_eq!(serde_json::from_str::<Revision>(&text).unwrap(), revision);
    }
}
