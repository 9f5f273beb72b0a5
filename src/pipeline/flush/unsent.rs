//! Settling what was not sent at all: nothing to write, waiting for a reference or a base, or no way to succeed.

use std::time::Duration;

use futures_util::future::join_all;

use super::Flush;
use super::batch::{Idle, Item, Items};
use super::reason::refused_letter;
use crate::core::desired::Presence;
use crate::core::implied::implied;
use crate::core::letter::Class;
use crate::core::record::WaitReason;
use crate::core::resource::{ResourceKey, TargetId};
use crate::core::retry::Next;
use crate::core::schedule::{Due, Lane};
use crate::core::settle;
use crate::pipeline::letters::{Case, Reason};
use crate::pipeline::ports::{Publisher, Reschedule, Store, StoreError, Swapped, Target};
use crate::pipeline::schedule::lane;
use crate::pipeline::settings::{REFERENCE_RECHECK, RUNG_SLACK};

impl<S: Store, T: Target, P: Publisher> Flush<S, T, P> {
    /// Nothing to write: done, or waiting for a reference.
    pub(super) async fn settle_rest(
        &self,
        items: &mut Items,
        key: &ResourceKey,
        idle: Idle,
    ) -> Result<(), StoreError> {
        let Some(mut item) = items.remove(key) else { return Ok(()) };
        let Idle { pending, clean, gone, left } = idle;
        let now = self.clock.now();
        let open = [item.open(&pending, &clean), gone].concat();
        let clean = &[clean.as_slice(), &left].concat();
        for value in clean {
            if let Some(entry) = item.entries.get_mut(value) {
                entry.dirty = false;
            }
        }
        let named = |values: &[String]| -> Vec<ResourceKey> {
            values.iter().filter_map(|value| item.referred(value)).collect()
        };
        let (open, left) = (named(&open), named(&left));
        if self.register(key, &open).await? || self.is_anyone_back(key, &left).await? {
            item.record.due = Some(Due { lane: Lane::Members, at: now });
            return self.put_back(item, &[]).await;
        }
        if !pending.is_empty() {
            let waiting = settle::waits(&mut item.record, WaitReason::Reference, now);
            let until = waiting.since.plus(self.settings.reference_wait);
            if now >= until {
                return self.settle_unresolved(items, item, &pending).await;
            }
            let at = until.min(now.plus(REFERENCE_RECHECK));
            item.record.due = Some(Due { lane: Lane::Members, at });
            return self.put_back(item, clean).await;
        }
        let alive = item.record.desired.presence() != Presence::Deleted;
        if item.more_entries || (item.record.scan_members && alive) || self.is_untold(key, &item.record) {
            item.record.due = Some(Due { lane: Lane::Members, at: now });
            return self.put_back(item, clean).await;
        }
        let late = item.record.late_check;
        if item.record.first_seen.is_some() {
            metrics::counter!("scim_relay_operations_suppressed_total").increment(1);
        }
        self.learnt().health.settled(key);
        item.record.settle();
        item.record.due = late.map(|at| Due { lane: Lane::Update, at });
        self.put_back(item, clean).await
    }

    /// Registers a resource as waiting for these; true if one of them has come into being meanwhile.
    pub(super) async fn register(&self, key: &ResourceKey, on: &[ResourceKey]) -> Result<bool, StoreError> {
        let registered = join_all(on.iter().map(|on| self.store.depend(on, key))).await;
        let ids = registered.into_iter().collect::<Result<Vec<Option<TargetId>>, StoreError>>()?;
        Ok(ids.iter().any(Option::is_some))
    }

    /// Writes an item back into the schedule as its record says; what was merged meanwhile is due anyway.
    pub(super) async fn put_back(&self, item: Item, touched: &[String]) -> Result<(), StoreError> {
        let key = item.key.clone();
        match self.store.swap(&[item.swap(Reschedule::AsRecord, touched)]).await?.pop() {
            Some(Swapped::Done { dependents, .. }) => {
                self.wake_dependents(&key, &item.record, dependents).await?
            }
            Some(Swapped::Conflict) | None => {
                self.postpone(std::slice::from_ref(&key), Lane::Update, Duration::ZERO).await;
            }
        }
        self.release(&key).await;
        Ok(())
    }

    /// Patches without a base: they wait for their `put`, and then they are incomplete.
    pub(super) async fn settle_no_base(
        &self,
        items: &mut Items,
        key: &ResourceKey,
    ) -> Result<(), StoreError> {
        let Some(item) = items.get_mut(key) else { return Ok(()) };
        if crate::core::gap::wants_only_inactive(&item.record) {
            return self.settle_rest(items, key, Idle::default()).await;
        }
        let now = self.clock.now();
        let waiting = settle::waits(&mut item.record, WaitReason::Base, now);
        let until = waiting.since.plus(self.settings.wait_for_base);
        if now < until {
            item.record.due = Some(Due { lane: Lane::Update, at: until });
            let item = item.clone();
            items.remove(key);
            return self.put_back(item, &[]).await;
        }
        let detail =
            "only patches are known, the target does not have it, and its `put` did not come in time";
        self.settle_dead(items, key, Reason::of(Class::Incomplete, detail)).await
    }

    /// A second POST has to wait until the first can't come any more.
    pub(super) async fn settle_no_create_yet(
        &self,
        items: &mut Items,
        key: &ResourceKey,
    ) -> Result<(), StoreError> {
        let Some(mut item) = items.remove(key) else { return Ok(()) };
        let at = item.record.no_create_before.unwrap_or_default();
        item.record.verify = true;
        item.record.due = Some(Due { lane: Lane::Create, at });
        self.put_back(item, &[]).await
    }

    /// The target's resource is somebody else's: perhaps not for long, so the ladder, and then the end.
    pub(super) async fn settle_foreign(
        &self,
        items: &mut Items,
        key: &ResourceKey,
        why: &str,
    ) -> Result<(), StoreError> {
        let Some(item) = items.get_mut(key) else { return Ok(()) };
        let now = self.clock.now();
        settle::failed(&mut item.record, Class::Uniqueness, None, now);
        let attempt = item.record.attempt();
        let reason = Reason::of(Class::Uniqueness, why);
        let Next::Rung { index, wait } = self.settings.ladder.after(attempt, None) else {
            return self.settle_dead(items, key, reason).await;
        };
        let Some(mut item) = items.remove(key) else { return Ok(()) };
        let intent = settle::unapplied(&item.record, &item.entries);
        let round = settle::round(&item.record, &item.entries);
        let case = Case { key, record: &item.record, intent: &intent, round, reason: &reason };
        if self.letters.retry(&case, index).await.inspect_err(refused_letter).is_err() {
            self.postpone(&[item.key], Lane::Update, Duration::from_secs(1)).await;
            return Ok(());
        }
        item.record.verify = true;
        item.record.due = Some(Due { lane: Lane::Create, at: now.plus(wait + RUNG_SLACK) });
        self.put_back(item, &[]).await
    }

    /// What was not sent at all can't succeed: a dead letter.
    pub(super) async fn settle_dead(
        &self,
        items: &mut Items,
        key: &ResourceKey,
        reason: Reason,
    ) -> Result<(), StoreError> {
        let Some(mut item) = items.remove(key) else { return Ok(()) };
        let mut intent = settle::unapplied(&item.record, &item.entries);
        if reason.class != Class::UnresolvedReference {
            // what the relay wants by itself is dead too, or it would be planned again at once
            intent.attributes.extend(implied(key, &item.record));
        }
        let round = settle::round(&item.record, &item.entries);
        let case = Case { key, record: &item.record, intent: &intent, round, reason: &reason };
        if self.letters.dead(&case).await.inspect_err(refused_letter).is_err() {
            self.postpone(&[item.key], Lane::Update, Duration::from_secs(1)).await;
            return Ok(());
        }
        tracing::warn!(resource = %key, class = %reason.class, "dead-lettered");
        let words = settle::words(&item.record, &intent);
        let touched: Vec<String> = words.members.iter().map(|(value, _)| value.clone()).collect();
        settle::bury(&mut item.record, &mut item.entries, &words, round);
        item.record.verify = false;
        let open = self.has_gap(key, &item.record) || item.more_entries || self.is_untold(key, &item.record);
        item.record.settle();
        item.record.due = open.then(|| Due { lane: lane(key, &item.record), at: self.clock.now() });
        self.put_back(item, &touched).await
    }

    /// References that never came into being: only they are dead, the rest of the resource is applied.
    async fn settle_unresolved(
        &self,
        items: &mut Items,
        item: Item,
        pending: &[String],
    ) -> Result<(), StoreError> {
        let key = item.key.clone();
        let mut only = item.clone();
        only.entries.retain(|value, _| pending.contains(value));
        items.insert(key.clone(), only);
        let detail = format!("{} referenced resources did not come into being in time", pending.len());
        self.settle_dead(items, &key, Reason::of(Class::UnresolvedReference, detail)).await
    }
}
