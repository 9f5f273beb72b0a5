//! What goes wrong at the target, by seed.

use std::time::Duration;

use super::dice::Dice;

/// What becomes of one request that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Processed and answered.
    Fine,
    /// Processed; the answer is lost.
    LostReply,
    /// The client gives up; it is processed so much later.
    Late(Duration),
    /// The client gives up; it is never processed.
    Vanished,
    /// Not processed; this status.
    Failed(u16),
    /// Processed; then this status.
    FailedAfter(u16),
    /// Not processed; busy with this status for so many seconds.
    Busy(u16, u64),
    /// No connection.
    Refused,
    /// Processed in part; some results are missing (bulk), or the body is unreadable (single).
    Garbled,
}

/// Chances of each kind of fault, per mille of requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chances {
    pub lost_reply: u32,
    pub late: u32,
    pub vanished: u32,
    pub failed: u32,
    pub busy: u32,
    pub refused: u32,
    pub garbled: u32,
    /// Of one result inside a bulk response to be 500 or 429.
    pub inside_bulk: u32,
    /// Of a request that reads.
    pub read: u32,
}

impl Chances {
    /// What this world's target suffers from: some kinds, not all.
    pub fn draw(dice: &Dice) -> Self {
        let chance = || match dice.below(3) {
            0 => 0,
            1 => 40,
            _ => 150,
        };
        Self {
            lost_reply: chance(),
            late: chance(),
            vanished: chance(),
            failed: chance(),
            busy: chance(),
            refused: chance(),
            garbled: chance(),
            inside_bulk: chance(),
            read: chance(),
        }
    }

    /// The fate of a request. A late one is processed within `window` of being given up.
    pub fn fate(&self, dice: &Dice, window: Duration) -> Fate {
        let late = Fate::Late(window.mul_f64(dice.between(0, 90) as f64 / 100.0));
        let kinds = [
            (self.lost_reply, Fate::LostReply),
            (self.late, late),
            (self.vanished, Fate::Vanished),
            (self.failed, Fate::Failed(*dice.pick(&[500, 502, 503, 504]))),
            (self.failed / 2, Fate::FailedAfter(*dice.pick(&[500, 504]))),
            (self.busy, Fate::Busy(*dice.pick(&[429, 503]), dice.between(1, 20))),
            (self.refused, Fate::Refused),
            (self.garbled, Fate::Garbled),
        ];
        kinds.into_iter().find(|(chance, _)| dice.per_mille(*chance)).map_or(Fate::Fine, |(_, fate)| fate)
    }
}

/// How a target that is down presents itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Each time another way of the following.
    Any,
    /// Connections are refused.
    Refused,
    /// 500, 502, 503, or no answer at all.
    Failing,
    /// The same, to writes; all else is answered.
    Writes,
}

/// What a poison operation does to the request that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poison {
    /// It is refused, and nothing else.
    Itself,
    /// The whole bulk is refused with 400.
    RefusesBulk,
    /// The server breaks: 500, and nothing is processed.
    BreaksServer,
}

/// An operation that holds this text is poison.
pub const POISON: &str = "poison";
