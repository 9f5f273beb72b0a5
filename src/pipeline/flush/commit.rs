//! Committing: what each decision makes of a record, written again on top of what was merged meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Flush;
use super::batch::{Claimed, Item, Ready};
use super::strangers::{acknowledged, refused};
use crate::core::letter::Class;
use crate::core::outcome::Answer;
use crate::core::plan::Purpose;
use crate::core::record::Record;
use crate::core::reference::{Reference, References};
use crate::core::resource::{ResourceKey, ResourceType, TargetId};
use crate::core::schedule::{Due, Lane, Millis};
use crate::core::settle::{self, Entries};
use crate::pipeline::ports::{Load, Loaded, Publisher, Reschedule, Store, StoreError, Swap, Swapped, Target};
use crate::pipeline::schedule::lane;
use crate::pipeline::settings::{REFERENCE_RECHECK, RUNG_SLACK};

/// What is to be done to a record, again and again until the swap succeeds. Pure.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Acknowledged.
    Applied { answer: Answer, ids: BTreeMap<String, TargetId> },
    /// Not sent, or certainly not applied: again after a while.
    Unsent { wait: Duration },
    /// Nobody knows.
    Unknown { late: bool, wait: Duration },
    /// Something like it exists.
    Exists(Class),
    /// Changed by others, for the first time.
    Conflict,
    /// The id is gone.
    Gone,
    /// Attributes and members together failed: they go apart.
    Apart { doubt: Doubt },
    /// One of these members was not there.
    MissingMember,
    /// On a rung, since it failed at that time.
    Rung { class: Class, status: Option<u16>, doubt: Doubt, at: Millis, wait: Duration },
    /// A dead letter is its home.
    Buried { intent: crate::core::change::Delta, doubt: Doubt },
}

/// Whether a write that failed was applied nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It was not.
    Refused,
    /// Nobody knows: look before anything is written again.
    Unknown,
    /// Nobody knows, and it may still be.
    Late,
}

impl<S: Store, T: Target, P: Publisher> Flush<S, T, P> {
    /// Writes what was decided, and again on top of what was merged meanwhile.
    pub(super) async fn commit(&self, changes: Vec<(Claimed, Change)>) -> Result<(), StoreError> {
        let mut open = changes;
        self.forewarn_of_creates(&open).await?;
        while !open.is_empty() {
            let swaps: Vec<Swap> = open.iter().map(|(claim, change)| self.committed(claim, change)).collect();
            let swapped = self.store.swap(&swaps).await?;
            let mut again = Vec::new();
            for ((claim, change), (swap, swapped)) in open.into_iter().zip(swaps.into_iter().zip(swapped)) {
                match swapped {
                    Swapped::Done { dependents, .. } => {
                        self.wake_dependents(&claim.item.key, &swap.record, dependents).await?;
                        self.release(&claim.item.key).await;
                    }
                    Swapped::Conflict => again.push((claim, change)),
                }
            }
            open = self.reload(again).await?;
        }
        self.wake.notify_one();
        Ok(())
    }

    /// Loads claims again whose records were merged into meanwhile; drops those that are not ours any more.
    async fn reload(&self, again: Vec<(Claimed, Change)>) -> Result<Vec<(Claimed, Change)>, StoreError> {
        if again.is_empty() {
            return Ok(again);
        }
        let load = |(claim, _): &(Claimed, Change)| Load {
            key: claim.item.key.clone(),
            members: claim.ready.touched(),
        };
        let loaded = self.store.load(&again.iter().map(load).collect::<Vec<_>>()).await?;
        let mut open = Vec::new();
        for ((mut claim, change), Loaded { version, record, members, .. }) in again.into_iter().zip(loaded) {
            let ours = claim.item.record.claim.as_ref();
            if record.claim.as_ref() != ours || ours.is_none() {
                // somebody took it over after our lease ended, and looks at the target before anything else
                tracing::warn!(resource = %claim.item.key, "a commit was refused: the claim is not ours any more");
                continue;
            }
            let changed =
                |members: &Entries| members.iter().any(|(value, e)| claim.item.entries.get(value) != Some(e));
            claim.news |= record.desired != claim.item.record.desired || changed(&members);
            claim.touched = true;
            claim.item.version = version;
            claim.item.record = record;
            // entries that the request did not touch may have changed meanwhile: only what was loaded is written
            claim.item.entries = members;
            claim.item.changed = true;
            open.push((claim, change));
        }
        Ok(open)
    }

    /// The record and schedule that a change leads to.
    fn committed(&self, claim: &Claimed, change: &Change) -> Swap {
        let Claimed { item, ready, news, touched } = claim;
        let (mut record, mut entries) = (item.record.clone(), item.entries.clone());
        let now = self.clock.now();
        let etags = self.rules().etag;
        let mut wait = Duration::ZERO;
        match change {
            Change::Applied { answer, ids } => {
                settle::applied(&mut record, &mut entries, &ready.operation, &ready.sent, answer, etags, ids);
                for entry in entries.values_mut().filter(|_| *touched) {
                    // perhaps because its user got another id than the one that was just written
                    entry.dirty |= record.wants_member(entry) && !record.is_withheld_member(entry);
                }
                acknowledged(&mut record, &item.strangers);
                self.observe_latency(&record, ready.sent.purpose.lane(), now);
            }
            Change::Unsent { wait: asked } => {
                record.claim = None;
                wait = *asked;
            }
            Change::Unknown { late, wait: asked } => {
                self.unknown(&mut record, ready, *late, now);
                wait = *asked;
            }
            Change::Exists(class) => {
                record.claim = None;
                record.verify = true;
                record.maybe_ours.clear();
                self.remember(&mut record, *class, now);
            }
            Change::Conflict => drop(settle::conflicted(&mut record, now)),
            Change::Gone => {
                record.claim = None;
                record.forget_target();
                record.verify = true;
            }
            Change::Apart { doubt } => {
                record.claim = None;
                record.apart = true;
                self.doubt(&mut record, ready, *doubt, now);
            }
            Change::MissingMember => {
                record.claim = None;
                self.drop_missing(&mut record, &mut entries, ready);
            }
            Change::Rung { class, status, doubt, at, wait: rung } => {
                self.doubt(&mut record, ready, *doubt, now);
                settle::failed(&mut record, *class, *status, *at);
                // what is newer does not wait for the ladder
                let wait = if *news { Duration::ZERO } else { *rung + RUNG_SLACK };
                record.due = Some(Due { lane: lane(&item.key, &record), at: now.plus(wait) });
                return swap_of(item, record, entries);
            }
            Change::Buried { intent, doubt } => {
                self.doubt(&mut record, ready, *doubt, now);
                let (words, round) = (settle::words(&record, intent), settle::round(&record, &entries));
                settle::bury(&mut record, &mut entries, &words, round);
                refused(&mut record, &item.strangers);
            }
        }
        self.reschedule(item, ready, &mut record, change, now.plus(wait));
        swap_of(item, record, entries)
    }

    /// Where the resource stands after the change: done, or due again.
    fn reschedule(&self, item: &Item, ready: &Ready, record: &mut Record, change: &Change, at: Millis) {
        let done = matches!(change, Change::Applied { .. } | Change::Buried { .. });
        let lane = lane(&item.key, record);
        let compare = record.strangers.is_some() && self.settings.members_are_authoritative;
        let untold = self.is_untold(&item.key, record);
        let rest = item.changed || ready.more || record.verify || record.scan_members || compare || untold;
        if !done || rest || self.has_gap(&item.key, record) {
            record.due = Some(Due { lane, at });
            return;
        }
        record.settle();
        record.due = record.late_check.map(|at| Due { lane: Lane::Update, at });
    }

    /// True unless nothing is left to write, members and pending references apart.
    pub(super) fn has_gap(&self, key: &ResourceKey, record: &Record) -> bool {
        use crate::core::gap::{Gap, Seen, gap};
        let mut references = References::new();
        if let Some(name) = crate::core::gap::references(record) {
            references.insert(ResourceType::User, name, Reference::Gone);
        }
        let gap = gap(key, record, &self.rules(), Seen::default(), &references);
        !matches!(gap, Gap::None(_))
    }

    fn unknown(&self, record: &mut Record, ready: &Ready, late: bool, now: Millis) {
        // a version fences it from the next write on only, and there may be none
        let late = late.then(|| now.plus(self.settings.late_window));
        settle::unknown(record, &ready.operation, &ready.sent, late);
    }

    fn doubt(&self, record: &mut Record, ready: &Ready, doubt: Doubt, now: Millis) {
        match doubt {
            Doubt::Refused => {}
            Doubt::Unknown => self.unknown(record, ready, false, now),
            Doubt::Late => self.unknown(record, ready, true, now),
        }
    }

    fn remember(&self, record: &mut Record, class: Class, now: Millis) {
        let attempt = record.attempt();
        settle::failed(record, class, None, now);
        if let Some(trouble) = &mut record.trouble {
            trouble.attempt = attempt;
        }
    }

    /// A removal of several members that met one missing is repeated one by one; a lone one was true already.
    fn drop_missing(&self, record: &mut Record, entries: &mut Entries, ready: &Ready) {
        for (value, id) in &ready.sent.dropped {
            // of several nobody knows which one was missing
            if let Some(entry) = entries.get_mut(value)
                && ready.sent.dropped.len() == 1
            {
                entry.applied = entry.applied.take().filter(|applied| applied != id);
                entry.maybe = None;
                entry.unnamed = false;
            }
        }
        for entry in entries.values_mut() {
            entry.dirty |= record.is_dirty(entry);
        }
        record.one_by_one = ready.sent.dropped.len() > 1;
    }

    fn observe_latency(&self, record: &Record, lane: Lane, now: Millis) {
        if let Some(seen) = record.first_seen {
            let seconds = now.since(seen).as_secs_f64();
            metrics::histogram!("scim_relay_event_to_applied_seconds", "lane" => lane.name()).record(seconds);
        }
    }

    async fn forewarn_of_creates(&self, changes: &[(Claimed, Change)]) -> Result<(), StoreError> {
        for (claim, change) in changes {
            let created = claim.ready.sent.purpose == Purpose::Create;
            if created && matches!(change, Change::Applied { .. }) {
                self.forewarn(&claim.item.key, &claim.item.record).await?;
            }
        }
        Ok(())
    }

    /// What lists a resource that is about to get another id is due a little later, should this process die before it can
    /// say so. What lists a first id is pending, and looks for itself.
    pub(super) async fn forewarn(&self, key: &ResourceKey, before: &Record) -> Result<(), StoreError> {
        if !may_be_listed_by_another_id(before) {
            return Ok(());
        }
        let at = self.clock.now().plus(REFERENCE_RECHECK);
        let due = |dependent| (dependent, Due { lane: Lane::Members, at });
        let others = self.store.dependents(key).await?.into_iter().filter(|dependent| dependent != key);
        let dependents: Vec<_> = others.map(due).collect();
        if dependents.is_empty() {
            return Ok(());
        }
        self.store.touch_member(&dependents, key.external_id.as_str(), true).await
    }

    /// What listed this resource as a member or manager is due: it has a target id now.
    pub(super) async fn wake_dependents(
        &self,
        key: &ResourceKey,
        record: &Record,
        dependents: Vec<ResourceKey>,
    ) -> Result<(), StoreError> {
        if dependents.is_empty() {
            return Ok(());
        }
        let at = self.clock.now();
        let value = key.external_id.as_str();
        let due: Vec<(ResourceKey, Due)> =
            dependents.into_iter().map(|dependent| (dependent, Due { lane: Lane::Members, at })).collect();
        // who was deleted there has lost its memberships, even if it comes back under the same id
        let doubt = record.incarnation > 1;
        self.store.touch_member(&due, value, doubt).await
    }

    /// Nothing was sent: the claims are given up, the resources wait.
    pub(super) async fn unsend(&self, request: Vec<Claimed>, wait: Duration) -> Result<(), StoreError> {
        let changes = request.into_iter().map(|claim| (claim, Change::Unsent { wait }));
        self.commit(changes.collect()).await
    }

    /// Nobody knows what was applied: all of them are looked at before anything is written again.
    pub(super) async fn settle_unknown(
        &self,
        request: Vec<Claimed>,
        late: bool,
        wait: Duration,
    ) -> Result<(), StoreError> {
        let changes = request.into_iter().map(|claim| {
            metrics::counter!("scim_relay_operations_total",
                "method" => claim.ready.operation.method().name(), "outcome" => "unknown")
            .increment(1);
            (claim, Change::Unknown { late, wait })
        });
        self.commit(changes.collect()).await
    }
}

/// True if somebody may have settled a reference to this resource that a new id changes.
pub(super) fn may_be_listed_by_another_id(record: &Record) -> bool {
    record.incarnation > 0 || record.desired.deleted().is_some()
}

fn swap_of(item: &Item, record: Record, entries: Entries) -> Swap {
    let members = entries.into_iter().filter(|(value, entry)| item.entries.get(value) != Some(entry));
    Swap {
        key: item.key.clone(),
        expected: item.version,
        record,
        members: members.map(|(value, entry)| (value, Some(entry))).collect(),
        reschedule: Reschedule::AsRecord,
    }
}
