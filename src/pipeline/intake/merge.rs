//! Merging changes into records: load, pure merge, swap, until all are in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use super::{Intake, MEMBERS_PER_SWAP};
use crate::core::change::Change;
use crate::core::desired::Merged;
use crate::core::generation::Generation;
use crate::core::lost::{lost, may_be_created};
use crate::core::record::{Record, Trouble};
use crate::core::resource::ResourceKey;
use crate::core::schedule::{Lane, Millis};
use crate::core::settle;
use crate::pipeline::ports::{
    Load, Loaded, OtherGeneration, Publisher, Reschedule, Source, Store, StoreError, Swap, Swapped,
};
use crate::pipeline::recent::Recent;
use crate::pipeline::schedule::{after_loss, after_merge};

impl<S: Store, P: Publisher> Intake<S, P> {
    /// Load, merge, swap; again for those that somebody else changed meanwhile. `judged`: the generation by which the letters
    /// among them are of known history.
    pub(super) async fn merge_changes(
        &self,
        changes: BTreeMap<ResourceKey, Vec<(Change, Source)>>,
        judged: Option<Generation>,
    ) -> Result<(), StoreError> {
        let mut open: Vec<Open> = changes.into_iter().map(|(key, changes)| Open::new(key, changes)).collect();
        let mut wakes = false;
        while !open.is_empty() {
            let known = self.look(&open).await?;
            if known
                .iter()
                .any(|(loaded, _)| judged.is_some_and(|judged| judged != loaded.version.generation))
            {
                return Err(StoreError { what: "merge letters".into(), source: OtherGeneration.into() });
            }
            let (mut again, mut swaps, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
            for (one, (loaded, is_recent)) in open.into_iter().zip(known) {
                let MergedRecord { swap, results } = self.merged(loaded, &one.now);
                match swap {
                    // what changes nothing is not taken for known by a record of a moment ago alone
                    None if is_recent => again.push(one.loaded_next()),
                    None => {
                        self.count(&results);
                        again.extend(one.rest());
                    }
                    Some(swap) => {
                        waiting.push((one, results));
                        swaps.push(swap);
                    }
                }
            }
            wakes |= swaps.iter().any(|swap| self.wakes(swap));
            let swapped = self.store.swap(&swaps).await?;
            let mut written = Vec::new();
            for ((one, results), (swap, swapped)) in waiting.into_iter().zip(swaps.into_iter().zip(swapped)) {
                match swapped {
                    Swapped::Done { version, .. } => {
                        self.count(&results);
                        // of a group the ledger counts too
                        if swap.members.is_empty() {
                            written.push((swap.key, version, swap.record));
                        }
                        again.extend(one.rest());
                    }
                    Swapped::Conflict => again.push(one.loaded_next()),
                }
            }
            self.recent.keep(written, self.clock.now());
            open = again;
        }
        if wakes {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// The records of these, each with whether it is one of a moment ago.
    async fn look(&self, open: &[Open]) -> Result<Vec<(Loaded, bool)>, StoreError> {
        let now = self.clock.now();
        let recent: Vec<Option<Loaded>> = open.iter().map(|one| one.recent(&self.recent, now)).collect();
        let unknown = open.iter().zip(&recent).filter(|(_, recent)| recent.is_none());
        let loads: Vec<Load> = unknown.map(|(one, _)| load(&one.key, &one.now)).collect();
        let loaded = match loads.is_empty() {
            true => Vec::new(),
            false => self.store.load(&loads).await?,
        };
        let mut loaded = loaded.into_iter();
        let known = recent.into_iter().zip(open).map(|(recent, one)| match recent {
            Some(recent) => (recent, true),
            None => (loaded.next().unwrap_or_else(|| Loaded::nothing(&one.key)), false),
        });
        Ok(known.collect())
    }

    /// True if the flush has to look at the schedule: behind a backlog only deprovisioning is worth that.
    fn wakes(&self, swap: &Swap) -> bool {
        let lane = swap.record.due.filter(|_| swap.reschedule == Reschedule::AsRecord).map(|due| due.lane);
        lane.is_some_and(|lane| lane == Lane::Deprovision || !self.backlog.get())
    }

    fn merged(&self, loaded: Loaded, changes: &[(Change, Source)]) -> MergedRecord {
        let Loaded { key, version, mut record, mut members } = loaded;
        let due = record.due;
        let (mut touched, mut results) = (BTreeSet::new(), Vec::new());
        let mut rescheduled = false;
        let now = self.clock.now();
        let before = self.again.is_some().then(|| (record.clone(), members.clone()));
        for (change, source) in changes {
            let intake = record.merge(change, &members);
            take_attempts(&mut record, change, intake.merged, now);
            for (value, entry) in intake.members {
                touched.insert(value.clone());
                members.insert(value, entry);
            }
            rescheduled |= after_merge(&key, &mut record, change, intake.merged, now, self.settings.linger);
            let again = self.again.as_ref();
            again.iter().for_each(|again| may_be_created(&mut record, again.until));
            if let Some(again) = again.filter(|again| again.has(&key, &record)) {
                for (value, entry) in lost(&mut record, &members, change, again.until) {
                    touched.insert(value.clone());
                    members.insert(value, entry);
                }
                rescheduled |= after_loss(&key, &mut record, now);
            }
            results.push((intake.merged, *source));
        }
        for verdict in self.decided.get(&key).into_iter().flatten() {
            let mark = verdict.kind.mark(verdict.round);
            settle::mark(&mut record, &mut members, &verdict.words, mark);
        }
        let is_news = results.iter().any(|(merged, _)| *merged == Merged::New);
        let is_doubtful = before.is_some_and(|before| before != (record.clone(), members.clone()));
        let swap = (is_news || is_doubtful || record.due != due).then(|| Swap {
            key,
            expected: version,
            record,
            members: touched.into_iter().map(|value| (value.clone(), members.remove(&value))).collect(),
            reschedule: if rescheduled { Reschedule::AsRecord } else { Reschedule::Keep },
        });
        MergedRecord { swap, results }
    }

    /// Counts what merged. From the urgent queue only that: all else is counted with its copy in `work`.
    fn count(&self, results: &[(Merged, Source)]) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        for (merged, source) in results {
            match merged {
                Merged::New => tally.new += 1,
                Merged::Duplicate => tally.duplicate += 1,
                Merged::Stale => tally.stale += 1,
            }
            let counter = match (merged, source) {
                (Merged::New, _) => &self.counters.new,
                (_, Source::Urgent | Source::Journal) => continue,
                (Merged::Duplicate, Source::Work) => &self.counters.duplicate,
                (Merged::Stale, Source::Work) => &self.counters.stale,
            };
            counter.increment(1);
        }
    }
}

/// The changes of one resource that are still to be merged.
struct Open {
    key: ResourceKey,
    /// Those that go into one swap.
    now: Vec<(Change, Source)>,
    later: Vec<(Change, Source)>,
    must_load: bool,
}

impl Open {
    fn new(key: ResourceKey, mut changes: Vec<(Change, Source)>) -> Self {
        let later = changes.split_off(first_swap(&changes));
        Self { key, now: changes, later, must_load: false }
    }

    fn loaded_next(self) -> Self {
        Self { must_load: true, ..self }
    }

    /// What is left when the first ones are merged.
    fn rest(self) -> Option<Self> {
        (!self.later.is_empty()).then(|| Self::new(self.key, self.later))
    }

    /// The record as it was written a moment ago, where the ledger does not matter.
    fn recent(&self, recent: &Recent, now: Millis) -> Option<Loaded> {
        let ledger = self.now.iter().any(|(change, _)| !change.delta.members.is_empty());
        if self.must_load || ledger { None } else { recent.take(&self.key, now) }
    }
}

struct MergedRecord {
    swap: Option<Swap>,
    results: Vec<(Merged, Source)>,
}

pub(super) fn load(key: &ResourceKey, changes: &[(Change, Source)]) -> Load {
    let members = changes.iter().flat_map(|(change, _)| change.delta.members.iter().map(|m| m.value.clone()));
    let members: BTreeSet<String> = members.collect();
    Load { key: key.clone(), members: members.into_iter().collect() }
}

/// How many of these changes fit into one swap; at least one.
fn first_swap(changes: &[(Change, Source)]) -> usize {
    let mut members = 0;
    let fits = changes.iter().take_while(|(change, _)| {
        members += change.delta.members.len();
        members <= MEMBERS_PER_SWAP
    });
    fits.count().max(1).min(changes.len())
}

/// After a loss of the store a returning letter brings its attempts along.
fn take_attempts(record: &mut Record, change: &Change, merged: Merged, now: Millis) {
    if change.attempt > 0 && merged == Merged::New && record.trouble.is_none() {
        let class = crate::core::letter::Class::Exhausted;
        let (attempt, first_failed_at, last_failed_at) = (change.attempt, change.first_seen, now);
        record.trouble = Some(Trouble { attempt, first_failed_at, last_failed_at, class, status: None });
    }
}
