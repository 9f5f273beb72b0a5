//! Generations of the store: which of its lives a record was written in, and what becomes of one that ended (design D2). Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::schedule::Millis;

/// One life of the store. Zero: nobody has stamped it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation of this name, which no other has.
    pub fn named(name: &str) -> Self {
        let digest = Sha256::digest(name.as_bytes());
        let number = digest[..8].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        Self(number.max(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Why a generation began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// There was none before, neither in the store nor in the journal.
    First,
    /// The store lacked the last one, or a part of it: all of it may be gone.
    Emptied,
    /// The store is another server, or was started again: it may lack what was written last.
    Moved,
}

impl Cause {
    /// The word in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::First => "first",
            Cause::Emptied => "emptied",
            Cause::Moved => "moved",
        }
    }
}

/// What the store keeps about its generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamp {
    /// Which.
    pub generation: Generation,
    /// Why it began.
    pub cause: Cause,
    /// When.
    pub since: Millis,
    /// False while what the journal holds is merged again.
    pub ready: bool,
    /// The servers that held the store, by their run ids.
    pub nodes: BTreeSet<String>,
    /// Since when the journal is known to be whole; none: it has lost nothing yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begins: Option<Millis>,
}

impl Stamp {
    /// What was first seen before this was perhaps forgotten with the last generation; none: nothing was.
    pub fn history(&self) -> Option<Millis> {
        match (self.cause, self.ready) {
            (Cause::First, _) => None,
            (Cause::Emptied | Cause::Moved, true) => self.begins,
            // how far the journal reaches back is only known when it was read
            (Cause::Emptied | Cause::Moved, false) => Some(self.since),
        }
    }
}

/// What the store says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// The stamp, as it was last written.
    pub stamp: Option<Stamp>,
    /// The generation of each part.
    pub parts: Vec<Option<Generation>>,
    /// The servers that hold it now.
    pub nodes: BTreeSet<String>,
    /// When a replica last said that it lives.
    pub beat: Option<Millis>,
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// All is well.
    Ready(Stamp),
    /// Somebody recovers it, or died while doing so.
    Recovering(Stamp),
    /// It has lost something: a new generation begins.
    Lost(Cause),
}

/// A store whose last sign of life is older may be a copy of long ago, whatever its servers are called.
pub const RECENT: Duration = Duration::from_secs(600);

impl Standing {
    /// Judges it.
    pub fn judge(&self, now: Millis) -> Finding {
        let Some(stamp) = &self.stamp else { return Finding::Lost(Cause::Emptied) };
        if self.parts.iter().any(|part| *part != Some(stamp.generation)) {
            return Finding::Lost(Cause::Emptied);
        }
        if !self.nodes.is_subset(&stamp.nodes) {
            let recent = self.beat.is_some_and(|beat| now.since(beat) <= RECENT);
            return Finding::Lost(if recent && stamp.ready { Cause::Moved } else { Cause::Emptied });
        }
        match stamp.ready {
            true => Finding::Ready(stamp.clone()),
            false => Finding::Recovering(stamp.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing() -> Standing {
        let nodes = BTreeSet::from(["a".to_owned()]);
        let stamp = Stamp {
            generation: Generation(7),
            cause: Cause::First,
            since: Millis(0),
            ready: true,
            nodes: nodes.clone(),
            begins: None,
        };
        let parts = vec![Some(Generation(7)); 3];
        Standing { stamp: Some(stamp), parts, nodes, beat: Some(Millis(1_000_000)) }
    }

    const NOW: Millis = Millis(1_000_000);

    #[test]
    fn a_store_that_kept_everything_is_ready() {
        assert!(matches!(standing().judge(NOW), Finding::Ready(_)));
    }

    #[test]
    fn a_part_without_its_generation_is_a_loss() {
        for part in [None, Some(Generation(6))] {
            let mut lost = standing();
            lost.parts[1] = part;
            assert_eq!(lost.judge(NOW), Finding::Lost(Cause::Emptied));
        }
        assert_eq!(Standing { stamp: None, ..standing() }.judge(NOW), Finding::Lost(Cause::Emptied));
    }

    #[test]
    fn another_server_may_lack_the_last_moments() {
        let moved = Standing { nodes: BTreeSet::from(["b".to_owned()]), ..standing() };
        assert_eq!(moved.judge(NOW), Finding::Lost(Cause::Moved));
        assert_eq!(moved.judge(NOW.plus(RECENT * 2)), Finding::Lost(Cause::Emptied), "a copy of long ago");
    }

    #[test]
    fn a_recovery_that_was_interrupted_goes_on() {
        let mut standing = standing();
        standing.stamp.as_mut().unwrap().ready = false;
        assert!(matches!(standing.judge(NOW), Finding::Recovering(_)));
        standing.nodes = BTreeSet::from(["b".to_owned()]);
        assert_eq!(standing.judge(NOW), Finding::Lost(Cause::Emptied), "nobody knows how far it had come");
    }
}
