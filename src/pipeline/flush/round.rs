//! One batch from the schedule to the target: load, learn, plan, claim. Users before groups, so that a group's members
//! can name users created in the same request.

use std::collections::BTreeSet;
use std::time::Duration;

use super::batch::{Claimed, Item, Items, Next, Ready};
use super::start::Draw;
use super::{COMPANY_POLL, Flush, Pace};
use crate::core::desired::Presence;
use crate::core::letter::Class;
use crate::core::plan::Purpose;
use crate::core::record::referred;
use crate::core::reference::{Reference, References};
use crate::core::resource::{ResourceKey, ResourceType};
use crate::core::schedule::Lane;
use crate::core::settle;
use crate::pipeline::letters::Reason;
use crate::pipeline::ports::{
    Load, Publisher, Reschedule, Store, StoreError, Swap, Swapped, Target, Transport,
};
use crate::pipeline::settings::LEASE;

/// How often a resource is planned again because reading it taught something new.
const MAX_STEPS: usize = 4;

/// How often a batch whose resources partly need nothing is filled up.
const MAX_REFILLS: usize = 8;

/// Groups in groups in one batch: how deep they are put into order.
const MAX_LAYERS: usize = 8;

/// What a batch is going to send.
#[derive(Default)]
struct Request {
    claimed: Vec<Claimed>,
    /// Writes planned so far, by which operations are numbered: some are held or merged into before they are claimed.
    planned: usize,
    /// What is created in it.
    in_batch: References,
}

impl<S: Store, T: Target, P: Publisher> Flush<S, T, P> {
    /// Works on these resources until each is settled or back in the schedule. Where some of them need nothing and `more` may
    /// be due, others take their places in a bulk request.
    pub(super) async fn work(&self, mut keys: Vec<ResourceKey>, draw: Draw, more: bool) {
        if let Err(error) = self.fill(&mut keys, &draw, more).await {
            // nothing was forgotten: what was taken is held, and comes back when the hold ends
            let _: Pace = self.stumble("a batch was interrupted", &error);
            self.postpone(&keys, Lane::Update, Duration::from_secs(1)).await;
        }
    }

    async fn fill(&self, keys: &mut Vec<ResourceKey>, draw: &Draw, more: bool) -> Result<(), StoreError> {
        let mut request = Request::default();
        self.round(keys, &mut request).await?;
        if draw.patient && self.transport() == Transport::Bulk && more {
            let filled = self.fill_up(keys, draw, &mut request).await;
            self.learnt().company.gathered(draw.batch);
            filled?;
        }
        self.deliver(request.claimed).await
    }

    /// A batch that was full, but for resources that need nothing: others take their places. Where no more are due, it waits
    /// for what the requests in flight make due, such as groups whose members they create.
    async fn fill_up(
        &self,
        keys: &mut Vec<ResourceKey>,
        draw: &Draw,
        request: &mut Request,
    ) -> Result<(), StoreError> {
        let (since, mut refills) = (self.clock.now(), 0);
        // a lone one would wait for nothing
        while refills < MAX_REFILLS && !request.claimed.is_empty() && request.claimed.len() < draw.limit {
            self.learnt().company.gathers(draw.batch, request.claimed.len());
            // asked first: what those that have ended by now made due is drawn
            let company = self.has_company(draw.batch, since);
            let from = keys.len();
            let (others, more) = self.draw(draw, draw.limit - request.claimed.len()).await?;
            refills += usize::from(!others.is_empty());
            keys.extend(others);
            self.round(&keys[from..], request).await?;
            match (more, company) {
                (true, _) => {}
                (false, true) => tokio::time::sleep(COMPANY_POLL).await,
                (false, false) => break,
            }
        }
        Ok(())
    }

    /// Plans these resources, and claims what is to be written.
    async fn round(&self, keys: &[ResourceKey], request: &mut Request) -> Result<(), StoreError> {
        let mut items = self.load(keys).await?;
        for kind in ResourceType::ALL {
            let (of_kind, others): (Items, Items) = items.into_iter().partition(|(key, _)| key.kind == kind);
            items = others;
            for layer in layers(of_kind) {
                self.plan(kind, layer, request).await?;
            }
        }
        Ok(())
    }

    /// Plans resources of one type that do not name each other, and claims what is to be written.
    async fn plan(
        &self,
        kind: ResourceType,
        mut items: Items,
        request: &mut Request,
    ) -> Result<(), StoreError> {
        let references = self.resolve(kind, &mut items, &request.in_batch).await?;
        let ready = self.learn(&mut items, &references, request.planned).await?;
        request.planned += ready.len();
        let ready = self.guarded(&mut items, ready).await?;
        let begun = self.begin(items, ready).await?;
        request.in_batch.extend(self.created_in_batch(&begun));
        request.claimed.extend(begun);
        Ok(())
    }

    /// Loads resources, leaving out those that somebody else is writing right now.
    async fn load(&self, keys: &[ResourceKey]) -> Result<Items, StoreError> {
        let loads: Vec<Load> =
            keys.iter().map(|key| Load { key: key.clone(), members: Vec::new() }).collect();
        let now = self.clock.now();
        let mut items = Items::new();
        for loaded in self.store.load(&loads).await? {
            items.insert(loaded.key.clone(), Item::loaded(loaded, self.strangers()));
        }
        let expired = self.leave_claimed(&mut items).await?;
        for item in items.values_mut() {
            if item.record.late_check.is_some_and(|at| at <= now) {
                settle::read_again(&mut item.record);
                item.changed = true;
                self.members_again(item).await?;
            }
            match item.key.kind {
                ResourceType::User => self.tell_groups(item).await?,
                ResourceType::Group => self.load_members(item).await?,
            }
            if expired.contains(&item.key) {
                settle::expired_members(&mut item.record, &item.entries);
            }
        }
        Ok(items)
    }

    /// Marks the members that a request given up may have brought back. If something was merged meanwhile, the begin or
    /// the settlement finds out, and it starts over.
    async fn members_again(&self, item: &mut Item) -> Result<(), StoreError> {
        let members: Vec<String> = item.record.late_members.keys().cloned().collect();
        if members.is_empty() {
            return Ok(());
        }
        let loads = [Load { key: item.key.clone(), members: members.clone() }];
        if let Some(loaded) = self.store.load(&loads).await?.pop() {
            item.entries = loaded.members;
        }
        settle::members_again(&mut item.record, &mut item.entries);
        let swap = item.swap(Reschedule::Keep, &members);
        if let Some(Swapped::Done { version, .. }) = self.store.swap(&[swap]).await?.pop() {
            item.version = version;
        }
        Ok(())
    }

    /// A claim whose lease lives is somebody's write in flight; one whose lease ended is an unknown outcome (D5).
    /// Returns the latter.
    async fn leave_claimed(&self, items: &mut Items) -> Result<BTreeSet<ResourceKey>, StoreError> {
        let claims: Vec<(ResourceKey, String)> = items
            .iter()
            .filter_map(|(key, item)| Some((key.clone(), item.record.claim.as_ref()?.owner.clone())))
            .collect();
        let mut expired = BTreeSet::new();
        if claims.is_empty() {
            return Ok(expired);
        }
        let alive = self.store.leases(&claims).await?;
        let now = self.clock.now();
        for ((key, owner), alive) in claims.into_iter().zip(alive) {
            // one of our own that is not in flight any more: its commit did not come through
            if alive && owner != self.owner {
                items.remove(&key);
                self.postpone(&[key], Lane::Update, LEASE).await;
            } else if let Some(item) = items.get_mut(&key) {
                settle::expired(&mut item.record, now.plus(self.settings.late_window));
                item.changed = true;
                expired.insert(key);
            }
        }
        Ok(expired)
    }

    async fn load_members(&self, item: &mut Item) -> Result<(), StoreError> {
        if item.record.desired.presence() == Presence::Deleted {
            // gone, or kept as it is; the ledger is looked at should it come to life again
            return Ok(());
        }
        if item.record.scan_members {
            self.rescan(item).await?;
        }
        let limit = 2 * self.settings.dialect.members_per_request;
        let dirty = self.store.dirty_members(&item.key, limit).await?;
        item.more_entries = dirty.len() >= limit;
        item.entries = dirty.into_iter().collect();
        Ok(())
    }

    /// The floor of the ledger has moved: looks through it once, and marks what is to be looked at.
    async fn rescan(&self, item: &mut Item) -> Result<(), StoreError> {
        let mut cursor = Some(0);
        item.record.scan_members = false;
        while let Some(at) = cursor {
            let (page, next) = self.store.scan_members(&item.key, at).await?;
            cursor = next;
            let record = &item.record;
            let changed = page.into_iter().filter_map(|(value, mut entry)| {
                let dirty = record.is_dirty(&entry);
                let forgotten = record.can_forget(&entry);
                let stale = dirty && !entry.dirty;
                entry.dirty |= dirty;
                (forgotten || stale).then(|| (value, (!forgotten).then_some(entry)))
            });
            let members: Vec<_> = changed.collect();
            if members.is_empty() && cursor.is_some() {
                continue;
            }
            let mut record = item.record.clone();
            record.scan_members = cursor.is_some();
            let swap = Swap {
                key: item.key.clone(),
                expected: item.version,
                record,
                members,
                reschedule: Reschedule::Keep,
            };
            match self.store.swap(&[swap]).await?.pop() {
                Some(Swapped::Done { version, .. }) => item.version = version,
                // merged meanwhile: the begin or the settlement finds out, and the scan starts over
                Some(Swapped::Conflict) | None => {
                    item.record.scan_members = true;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Finds and reads what must be known, and plans. What has nothing to write is settled here.
    async fn learn(
        &self,
        items: &mut Items,
        references: &References,
        first: usize,
    ) -> Result<Vec<(ResourceKey, Ready)>, StoreError> {
        let mut ready = Vec::new();
        let mut open: BTreeSet<ResourceKey> = items.keys().cloned().collect();
        for _ in 0..MAX_STEPS {
            let (mut find, mut read, mut compare) = (Vec::new(), Vec::new(), Vec::new());
            let rules = self.rules();
            for key in std::mem::take(&mut open) {
                let Some(item) = items.get(&key) else { continue };
                let bulk_id = format!("op-{}", first + ready.len() + 1);
                match item.next(&rules, references, &bulk_id) {
                    Next::Find if self.is_absent(item) => drop(items.get_mut(&key).map(|i| i.absent = true)),
                    Next::Find => find.push(key.clone()),
                    Next::Read => read.push(key.clone()),
                    Next::Compare => compare.push(key.clone()),
                    Next::NoBase => {
                        self.settle_no_base(items, &key).await?;
                        continue;
                    }
                    Next::NotSupported(why) => {
                        self.settle_dead(items, &key, Reason::of(Class::NotSupported, why)).await?;
                        continue;
                    }
                    Next::Rest(idle) => {
                        self.settle_rest(items, &key, idle).await?;
                        continue;
                    }
                    Next::Write(_) if self.must_look(item) => read.push(key.clone()),
                    Next::Write(_) if self.is_protected(item) => {
                        self.settle_protected(items, &key).await?;
                        continue;
                    }
                    Next::Write(write) if self.settings.read_only => {
                        self.settle_unwritten(items, &key, &write.operation).await?;
                        continue;
                    }
                    Next::Write(write) if self.must_wait(item, &write) => {
                        self.settle_no_create_yet(items, &key).await?;
                        continue;
                    }
                    Next::Write(write) => {
                        ready.push((key, *write));
                        continue;
                    }
                }
                open.insert(key);
            }
            if open.is_empty() {
                return Ok(ready);
            }
            self.find(items, &find).await?;
            self.read(items, &read).await?;
            self.compare_members(items, &compare).await?;
            open.retain(|key| items.contains_key(key));
        }
        let left: Vec<ResourceKey> = open.into_iter().collect();
        self.postpone(&left, Lane::Update, self.settings.linger).await;
        Ok(ready)
    }

    /// What this batch creates, by the value that members name it with.
    fn created_in_batch(&self, begun: &[Claimed]) -> References {
        let mut references = References::new();
        if self.transport() != Transport::Bulk {
            return references;
        }
        for claim in begun.iter().filter(|claim| claim.ready.sent.purpose == Purpose::Create) {
            let key = &claim.item.key;
            if self.is_named_by_its_key(key.kind) {
                let reference = Reference::InBatch(claim.ready.operation.bulk_id.clone());
                references.insert(key.kind, key.external_id.as_str().to_owned(), reference);
            }
        }
        references
    }
}

/// Groups before those that list them: a member that is created in the same request is named by it. What goes round in a
/// circle, or is nested deeper than anybody nests, comes last, and is added when it is there.
fn layers(mut items: Items) -> Vec<Items> {
    let mut layers = Vec::new();
    while !items.is_empty() && layers.len() < MAX_LAYERS {
        let new: BTreeSet<ResourceKey> =
            items.iter().filter(|(_, item)| item.record.id.is_none()).map(|(key, _)| key.clone()).collect();
        let waits = |item: &Item| {
            let named = item.references(false).into_iter().filter(|(kind, _)| *kind == ResourceType::Group);
            named.filter_map(|(kind, value)| referred(kind, &value)).any(|key| new.contains(&key))
        };
        let (later, now): (Items, Items) = items.into_iter().partition(|(_, item)| waits(item));
        if now.is_empty() {
            layers.push(later);
            return layers;
        }
        layers.push(now);
        items = later;
    }
    if !items.is_empty() {
        layers.push(items);
    }
    layers
}

impl Ready {
    /// Ledger entries that the request touches.
    pub(super) fn touched(&self) -> Vec<String> {
        let added = self.sent.added.iter().map(|(value, _)| value.clone());
        added.chain(self.sent.dropped.iter().map(|(value, _)| value.clone())).collect()
    }
}

impl Item {
    /// A swap of this item as it is now, with these ledger entries.
    pub(super) fn swap(&self, reschedule: Reschedule, members: &[String]) -> Swap {
        let entry = |value: &String| Some((value.clone(), Some(self.entries.get(value)?.clone())));
        Swap {
            key: self.key.clone(),
            expected: self.version,
            record: self.record.clone(),
            members: members.iter().filter_map(entry).collect(),
            reschedule,
        }
    }
}
