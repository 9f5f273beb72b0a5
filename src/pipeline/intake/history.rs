//! Letters that return from before the beginning of what the relay remembers are not merged (design D2, contract s3.1): nobody
//! knows what was said since.

use std::time::Duration;

use super::merge::load;
use super::{Intake, Unsettled};
use crate::core::change::{Change, Origin};
use crate::core::generation::Generation;
use crate::core::history::{horizon, is_letter, is_unknown};
use crate::core::letter::Class;
use crate::core::schedule::Millis;
use crate::decode::Refusal;
use crate::pipeline::gate::Memory;
use crate::pipeline::letters::{ACCEPT_STALE, rfc3339};
use crate::pipeline::ports::{Delivery, Header, Load, Message, Publisher, Source, Store};

/// A letter that can't be judged yet comes again after so long, if there is such a rung.
const COMES_AGAIN: Duration = Duration::from_secs(15);

/// Changes, each with where it came from, and the generation by which letters among them were judged.
type Known = (Vec<(Change, Source)>, Option<Generation>);

impl<S: Store, P: Publisher> Intake<S, P> {
    /// What may be merged. What is of unknown history is dead-lettered; what can't be judged before a recovery has read the
    /// journal goes back to the ladder, so that nothing waits behind it.
    pub(super) async fn of_known_history(
        &self,
        said: Vec<(Change, &Delivery)>,
        now: Millis,
    ) -> Result<Known, Unsettled> {
        let stamp = match self.gate.memory() {
            Memory::Whole => None,
            Memory::Of(stamp) => Some(stamp),
            Memory::NotYet => return Ok((self.without_letters(said).await?, None)),
        };
        let horizon = horizon(stamp.as_ref(), self.settings.tombstone_ttl, now);
        let has_letters = said.iter().any(|(change, _)| is_letter(change));
        let generation = stamp.map(|stamp| stamp.generation).filter(|_| has_letters);
        let mut known = Vec::new();
        for (change, delivery) in said {
            let old = is_letter(&change) && change.first_seen < horizon && !is_accepted(delivery);
            match old && self.is_unknown(&change, delivery.source, horizon).await? {
                true => self.refuse_stale(&change, delivery, horizon).await?,
                false => known.push((change, delivery.source)),
            }
        }
        Ok((known, generation))
    }

    async fn without_letters(
        &self,
        said: Vec<(Change, &Delivery)>,
    ) -> Result<Vec<(Change, Source)>, Unsettled> {
        let mut others = Vec::new();
        for (change, delivery) in said {
            match (is_letter(&change), delivery.source) {
                (false, source) => others.push((change, source)),
                (true, Source::Work) => self.letters.later(&delivery.message, self.rung()).await?,
                // its copy in `work` comes again
                (true, Source::Urgent | Source::Journal) => {}
            }
        }
        Ok(others)
    }

    fn rung(&self) -> usize {
        let delays = &self.settings.ladder.delays;
        let long = delays.iter().position(|delay| *delay >= COMES_AGAIN);
        long.unwrap_or(delays.len().saturating_sub(1))
    }

    async fn is_unknown(&self, change: &Change, source: Source, horizon: Millis) -> Result<bool, Unsettled> {
        let what: Load = load(&change.key, &[(change.clone(), source)]);
        let loaded = self.store.load(&[what]).await?.pop();
        Ok(loaded.is_none_or(|loaded| is_unknown(&loaded.record, &loaded.members, change, horizon)))
    }

    async fn refuse_stale(
        &self,
        change: &Change,
        delivery: &Delivery,
        horizon: Millis,
    ) -> Result<(), Unsettled> {
        let has_letter = match (delivery.source, change.origin) {
            (Source::Work, _) => true,
            // its copy in `work` has one
            (Source::Urgent, _) => false,
            // what was on the ladder was pending, and is in the journal as what was appended too
            (Source::Journal, Origin::Retry | Origin::Append | Origin::Publisher) => false,
            // nobody knows whether it was applied before the store was lost; what follows a recovery is in `work` too
            (Source::Journal, Origin::Replay | Origin::Approve) => self.again.is_some(),
        };
        if has_letter {
            self.refuse(delivery, stale(change, horizon)).await?;
        }
        Ok(())
    }
}

/// True if an operator knows that it is old. Publishers can't say so: their letters are none.
fn is_accepted(delivery: &Delivery) -> bool {
    !delivery.from_publishers && accepts_stale(&delivery.message)
}

fn accepts_stale(message: &Message) -> bool {
    message.headers.get(ACCEPT_STALE) == Some(&Header::Bool(true))
}

fn stale(change: &Change, horizon: Millis) -> Refusal {
    let detail = format!(
        "first seen at {}, and what was said before {} may be forgotten: something newer may have been applied since. Compare it with the \
         target, then `dead replay --accept-stale` applies it all the same, and `dead discard` gives it up",
        rfc3339(change.first_seen),
        rfc3339(horizon)
    );
    Refusal {
        class: Class::StaleUnknown,
        detail,
        resource: Some(change.key.clone()),
        event_id: Some(change.event_id.clone()),
        revision: None,
    }
}
