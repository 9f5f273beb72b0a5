//! Marks: what became of a word since it was said. At one revision the later state wins, so that marks merge in any order
//! and any number of times, as revisions do.

use serde::{Deserialize, Serialize};

use super::change::Origin;

/// What became of a word. The order is the order in which it happens within one round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// It is to be applied.
    #[default]
    Live,
    /// It waits for an operator: its home is the queue `held`.
    Held,
    /// An operator let it through: the guard does not ask again.
    Approved,
    /// Its home is a letter: it takes the place of what is older, and is not applied.
    Dead,
    /// An operator refused it: as dead, without a letter.
    Rejected,
}

/// In the packed form: not only dead, but rejected. All other bits are as they were before there was such a stage.
const REJECTED: u32 = 1 << 31;
/// The highest round that the packed form holds.
const MAX_ROUND: u32 = REJECTED / 4 - 1;

/// A stage of a round. An operator's replay begins the next round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "u32", into = "u32")]
pub struct Mark {
    /// How often it was replayed.
    pub round: u32,
    /// How far it has come in this round.
    pub stage: Stage,
}

impl Mark {
    /// As said by a publisher.
    pub const LIVE: Mark = Mark { round: 0, stage: Stage::Live };

    /// A stage of a round.
    pub const fn new(round: u32, stage: Stage) -> Self {
        Self { round, stage }
    }

    /// True if it is to be applied.
    pub const fn is_wanted(self) -> bool {
        matches!(self.stage, Stage::Live | Stage::Approved)
    }

    /// The mark after the same word was said again by `origin`; `round`: how often it was replayed, as far as its message
    /// says so.
    pub fn said_again(self, origin: Origin, round: Option<u32>) -> Mark {
        let lifted = || if self.is_wanted() { self.round } else { self.round.saturating_add(1) };
        let new = match origin {
            Origin::Publisher => Mark::LIVE,
            Origin::Retry | Origin::Append => Mark::new(round.unwrap_or(0), Stage::Live),
            Origin::Replay => Mark::new(round.unwrap_or_else(lifted), Stage::Live),
            Origin::Approve => Mark::new(round.unwrap_or(self.round), Stage::Approved),
        };
        self.max(new)
    }
}

impl From<u32> for Mark {
    fn from(packed: u32) -> Self {
        let stage = match packed % 4 {
            0 => Stage::Live,
            1 => Stage::Held,
            2 => Stage::Approved,
            _ if packed & REJECTED == 0 => Stage::Dead,
            _ => Stage::Rejected,
        };
        Mark { round: (packed & !REJECTED) / 4, stage }
    }
}

impl From<Mark> for u32 {
    fn from(mark: Mark) -> u32 {
        let stage = match mark.stage {
            Stage::Live => 0,
            Stage::Held => 1,
            Stage::Approved => 2,
            Stage::Dead => 3,
            Stage::Rejected => REJECTED + 3,
        };
        mark.round.min(MAX_ROUND) * 4 + stage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_its_packed_form() {
        for stage in [Stage::Live, Stage::Held, Stage::Approved, Stage::Dead, Stage::Rejected] {
            for round in [0, 7, MAX_ROUND] {
                let mark = Mark::new(round, stage);
                assert_eq!(Mark::from(u32::from(mark)), mark);
            }
        }
        assert_eq!(u32::from(Mark::new(7, Stage::Dead)), 31, "as records have it");
    }

    #[test]
    fn only_a_replay_lifts_what_is_dead_and_only_an_approval_what_is_held() {
        let dead = Mark::new(0, Stage::Dead);
        assert_eq!(dead.said_again(Origin::Publisher, None), dead);
        assert_eq!(dead.said_again(Origin::Retry, Some(0)), dead);
        assert_eq!(dead.said_again(Origin::Append, Some(0)), dead);
        assert_eq!(dead.said_again(Origin::Append, Some(1)), Mark::new(1, Stage::Live), "it was replayed");
        assert_eq!(dead.said_again(Origin::Approve, Some(0)), dead);
        assert_eq!(dead.said_again(Origin::Replay, Some(1)), Mark::new(1, Stage::Live));
        let rejected = Mark::new(0, Stage::Rejected);
        assert!(!rejected.is_wanted() && rejected > dead);
        assert_eq!(rejected.said_again(Origin::Approve, Some(0)), rejected);
        assert_eq!(rejected.said_again(Origin::Replay, Some(1)), Mark::new(1, Stage::Live));
        let held = Mark::new(0, Stage::Held);
        assert_eq!(held.said_again(Origin::Publisher, None), held);
        assert_eq!(held.said_again(Origin::Approve, Some(0)), Mark::new(0, Stage::Approved));
    }

    #[test]
    fn an_old_verdict_that_comes_again_buries_nothing() {
        let replayed = Mark::new(0, Stage::Dead).said_again(Origin::Replay, Some(1));
        assert_eq!(replayed.max(Mark::new(0, Stage::Dead)), replayed);
    }

    #[test]
    fn a_replay_that_names_no_round_lifts_once() {
        let lifted = Mark::new(2, Stage::Dead).said_again(Origin::Replay, None);
        assert_eq!(lifted, Mark::new(3, Stage::Live));
        assert_eq!(lifted.said_again(Origin::Replay, None), lifted);
    }
}
