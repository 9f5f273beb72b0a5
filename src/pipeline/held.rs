//! What an operator decides about held letters. Each decision is published and confirmed before its letter is taken: whatever
//! kills a tool, a letter is decided about twice rather than not at all, and the second time changes nothing.

use std::time::Duration;

use super::letters::Letters;
use super::ports::{Header, Message, PublishError, Publisher};
use crate::core::change::{Change, Origin};
use crate::core::schedule::Millis;
use crate::core::settle;
use crate::decode::verdict::Kind;
use crate::decode::{Decoded, Input, Limits, decode};

/// Longer than anything: what waited here was accepted once.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What an operator decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The resource is deprovisioned; the guard does not ask again.
    Approve,
    /// What was last applied stays.
    Reject,
}

/// Why a decision could not be carried out. The letter stays where it is.
#[derive(Debug, thiserror::Error)]
pub enum DecisionError {
    /// Somebody else put it there.
    #[error(
        "the letter carries no intent of the relay: look at it with `held show`, and take it out with the tools of RabbitMQ"
    )]
    NotAnIntent,
    /// The broker did not take it.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// A held letter, read.
#[derive(Clone, Debug)]
pub struct HeldLetter {
    change: Change,
    round: u32,
}

impl HeldLetter {
    /// Reads a letter; `now`: when it was received.
    pub fn read(letter: &Message, now: Millis) -> Result<Self, DecisionError> {
        let round = match letter.headers.get("x-relay-replays") {
            Some(Header::Int(round)) => u32::try_from(*round).ok(),
            _ => None,
        };
        let input = Input {
            body: &letter.body,
            content_type: letter.content_type.as_deref(),
            timestamp: letter.timestamp,
            from_publishers: false,
            attempt: 0,
            round,
        };
        // what the relay wrote keeps every limit of events
        let limits = Limits { max_event_bytes: usize::MAX, max_clock_skew: FOREVER };
        match decode(&input, &limits, now) {
            Decoded::Change(change) if change.origin != Origin::Publisher => {
                Ok(Self { change: *change, round: round.unwrap_or(0) })
            }
            Decoded::Change(_) | Decoded::Verdict(_) | Decoded::Ignored | Decoded::Refused(_) => {
                Err(DecisionError::NotAnIntent)
            }
        }
    }

    /// What it asks for.
    pub fn change(&self) -> &Change {
        &self.change
    }
}

impl<P: Publisher> Letters<P> {
    /// Carries out a decision: when it returns, the broker has it, and the letter may be taken.
    pub async fn decide(&self, letter: &HeldLetter, decision: Decision) -> Result<(), DecisionError> {
        let HeldLetter { change, round } = letter;
        let kind = match decision {
            Decision::Approve => Kind::Approved,
            Decision::Reject => Kind::Rejected,
        };
        if decision == Decision::Approve {
            self.say_again(change, Origin::Approve, *round).await?;
        }
        self.decided(&change.key, kind, &settle::named(&change.delta), *round).await?;
        Ok(())
    }
}
