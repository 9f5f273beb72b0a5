//! The guard: before anything is deprovisioned, a place in its windows is taken. What gets none goes to the operators, and
//! the rest of the resource flows on.

use std::time::Duration;

use futures_util::future::join_all;

use super::Flush;
use super::batch::{Item, Items, Ready};
use super::reason::refused_letter;
use crate::core::desired::Words;
use crate::core::guard::{Admission, Deciding, Window, deciding};
use crate::core::letter::Class;
use crate::core::mark::{Mark, Stage};
use crate::core::resource::{ResourceKey, ResourceType};
use crate::core::schedule::{Due, Lane};
use crate::core::settle;
use crate::pipeline::letters::{Case, Reason};
use crate::pipeline::ports::{Load, Publisher, Reschedule, Store, StoreError, Swapped, Target};
use crate::pipeline::schedule::lane;

/// A deprovisioning that got no place.
struct Refused {
    item: Item,
    ready: Ready,
    word: Deciding,
    window: Window,
}

impl<S: Store, T: Target, P: Publisher> Flush<S, T, P> {
    /// What may be sent of these writes of one resource type. Whatever the guard refuses is held.
    pub(super) async fn guarded(
        &self,
        items: &mut Items,
        ready: Vec<(ResourceKey, Ready)>,
    ) -> Result<Vec<(ResourceKey, Ready)>, StoreError> {
        let Some(limits) = &self.settings.guard else { return Ok(ready) };
        let (mut free, mut asking) = (Vec::new(), Vec::new());
        for (key, ready) in ready {
            let record = items.get(&key).map(|item| &item.record);
            match record.and_then(|record| deciding(record, ready.sent.purpose)) {
                Some(word) => asking.push((key, ready, word)),
                None => free.push((key, ready)),
            }
        }
        let keys: Vec<ResourceKey> = asking.iter().map(|(key, ..)| key.clone()).collect();
        let Some(kind) = keys.first().map(|key| key.kind) else { return Ok(free) };
        let admissions = self.store.admit(kind, &keys, limits, self.clock.now()).await?;
        let mut refused = Vec::new();
        for ((key, ready, word), admission) in asking.into_iter().zip(admissions) {
            match admission {
                Admission::Granted => free.push((key, ready)),
                Admission::Full(window) => {
                    let item = items.remove(&key);
                    refused.extend(item.map(|item| Refused { item, ready, word, window }));
                }
            }
        }
        if let Some(Refused { window, .. }) = refused.first() {
            self.note_guard(kind, *window, refused.len());
        }
        let held = join_all(refused.into_iter().map(|refused| self.hold(refused))).await;
        held.into_iter().collect::<Result<Vec<()>, StoreError>>()?;
        Ok(free)
    }

    /// Once per hour and type: a wave of thousands is one event for whoever reads logs.
    fn note_guard(&self, kind: ResourceType, window: Window, held: usize) {
        let now = self.clock.now();
        let last = self.learnt().tripped.get(&kind).copied();
        if last.is_some_and(|at| at > Window::Hour.before(now)) {
            return;
        }
        self.learnt().tripped.insert(kind, now);
        metrics::counter!("scim_relay_guard_trips_total").increment(1);
        let (kind, window) = (kind.name(), window.name());
        tracing::warn!(
            kind,
            window,
            held,
            "the guard trips: deprovisioning beyond deprovision.guard waits for an operator, see `scim-relay held list`"
        );
    }

    /// The word that deprovisions goes to the operators; what else is wanted of the resource is looked at again at once.
    async fn hold(&self, refused: Refused) -> Result<(), StoreError> {
        let Refused { item, ready, word, window } = refused;
        let detail = format!(
            "the guard holds it: as many as deprovision.guard allows were deprovisioned in the last {}",
            window.name()
        );
        let operation = Some((ready.operation.method(), ready.operation.path(&self.settings.dialect)));
        // the class is what becomes of it if nobody decides
        let reason = Reason { operation, ..Reason::of(Class::HeldExpired, detail) };
        let (record, intent, round) = (&item.record, &word.intent, word.mark.round);
        let case = Case { key: &item.key, record, intent, round, reason: &reason };
        if self.letters.hold(&case).await.inspect_err(refused_letter).is_err() {
            self.postpone(&[item.key], Lane::Deprovision, Duration::from_secs(1)).await;
            return Ok(());
        }
        tracing::info!(resource = %item.key, window = window.name(), "held for an operator");
        let words = settle::words(record, intent);
        self.mark_held(item, &words, Mark::new(round, Stage::Held)).await
    }

    /// Marks the words as held, on top of whatever is merged meanwhile: its letter is written, a second one would be one
    /// too many.
    async fn mark_held(&self, mut item: Item, words: &Words, mark: Mark) -> Result<(), StoreError> {
        loop {
            settle::mark(&mut item.record, &mut item.entries, words, mark);
            item.record.held_at = Some(self.clock.now());
            item.record.due = Some(Due { lane: lane(&item.key, &item.record), at: self.clock.now() });
            match self.store.swap(&[item.swap(Reschedule::AsRecord, &[])]).await?.pop() {
                Some(Swapped::Done { dependents, .. }) => {
                    return self.wake_dependents(&item.key, &item.record, dependents).await;
                }
                Some(Swapped::Conflict) | None => {}
            }
            let load = Load { key: item.key.clone(), members: Vec::new() };
            let Some(loaded) = self.store.load(&[load]).await?.pop() else { return Ok(()) };
            item.version = loaded.version;
            item.record = loaded.record;
        }
    }
}
