//! Resolving what resources name: members and managers, by our own records, by what the batch creates, and at the target.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::Flush;
use super::batch::{Item, Items, Named};
use crate::core::applied::Fingerprint;
use crate::core::desired::Presence;
use crate::core::listing::Memberships;
use crate::core::matching::Matcher;
use crate::core::path::Path;
use crate::core::record::{Record, referred};
use crate::core::reference::{Reference, References};
use crate::core::resource::{ResourceKey, ResourceType};
use crate::pipeline::ports::{Failure, Load, Publisher, Store, StoreError, Target};
use crate::pipeline::settings::ReferenceKind;

impl<S: Store, T: Target, P: Publisher> Flush<S, T, P> {
    /// References of resources of this type, none of them resolved yet: managers are ids, members what the dialect says.
    pub(super) fn unresolved(&self, kind: ResourceType) -> References {
        match kind {
            ResourceType::User => References::new(),
            ResourceType::Group => References::of_members(self.settings.dialect.member_value),
        }
    }

    /// True if resources of this type are named by the source's key; users may be by a name that the target knows.
    pub(super) fn is_named_by_its_key(&self, kind: ResourceType) -> bool {
        kind == ResourceType::Group || self.settings.references == ReferenceKind::ExternalId
    }

    /// Resolves what the items name: by our own records, then by this batch, then at the target.
    pub(super) async fn resolve(
        &self,
        kind: ResourceType,
        items: &mut Items,
        in_batch: &References,
    ) -> Result<References, StoreError> {
        let mut references = self.unresolved(kind);
        let all = references.need_names();
        let wanted: BTreeSet<Named> = items.values().flat_map(|item| item.references(all)).collect();
        self.list(items).await?;
        self.resolve_from_records(&wanted, &mut references).await?;
        adopt_from_batch(&wanted, in_batch, &mut references);
        let unknown = unknown(&wanted, &references);
        if let Err(failure) = self.resolve_at_target(&unknown, &mut references).await {
            let open = |named: &Named| unknown.contains(named) && is_unknown(&references, named);
            let waiting = items.values().filter(|item: &&Item| item.references(all).iter().any(open));
            let waiting: Vec<ResourceKey> = waiting.map(|item| item.key.clone()).collect();
            self.could_not_look(items, &waiting.iter().collect::<Vec<_>>(), &failure).await;
        }
        Ok(references)
    }

    /// Who lists somebody is told when it gets another id, or leaves: registered before it is looked at, so that nothing is
    /// missed in between.
    async fn list(&self, items: &Items) -> Result<(), StoreError> {
        let named = |item: &Item| item.references(false).into_iter();
        let listed = items.values().flat_map(|item| named(item).map(|named| (named, &item.key)));
        let known = listed.filter(|((kind, _), _)| self.is_named_by_its_key(*kind));
        let known = known.filter_map(|((kind, value), key)| Some((referred(kind, &value)?, key)));
        let listed: Vec<(ResourceKey, &ResourceKey)> = known.collect();
        let registered = join_all(listed.iter().map(|(on, key)| self.store.depend(on, key))).await;
        registered.into_iter().collect::<Result<Vec<_>, StoreError>>().map(drop)
    }

    /// Resolves names by our own records, and at the target.
    pub(super) async fn look_up(
        &self,
        wanted: &BTreeSet<Named>,
        references: &mut References,
    ) -> Result<Result<(), Failure>, StoreError> {
        self.resolve_from_records(wanted, references).await?;
        let unknown = unknown(wanted, references);
        Ok(self.resolve_at_target(&unknown, references).await)
    }

    /// Resolves names by what is stored about their resources.
    pub(super) async fn resolve_from_records(
        &self,
        wanted: &BTreeSet<Named>,
        references: &mut References,
    ) -> Result<(), StoreError> {
        let known = wanted.iter().filter(|(kind, _)| self.is_named_by_its_key(*kind));
        let keys: Vec<ResourceKey> = known.filter_map(|(kind, value)| referred(*kind, value)).collect();
        let load = |key: &ResourceKey| Load { key: key.clone(), members: Vec::new() };
        let loads: Vec<Load> = keys.iter().map(load).collect();
        if loads.is_empty() {
            return Ok(());
        }
        let removes = self.settings.memberships == Memberships::Remove;
        for (key, loaded) in keys.into_iter().zip(self.store.load(&loads).await?) {
            let record = loaded.record;
            if let (Some(id), Some(name)) = (&record.id, user_name(&key, &record)) {
                references.call(id, name);
            }
            let reference = match (record.id, record.desired.presence()) {
                (Some(id), _) if record.listing.left && removes => Reference::Left(id),
                (Some(id), _) => Reference::Id(id),
                // not looked for yet
                (None, Presence::Deleted) if record.verify => Reference::Pending,
                (None, Presence::Deleted) => Reference::Gone,
                (None, Presence::Alive) => Reference::Pending,
                (None, Presence::Unborn) => continue,
            };
            references.insert(key.kind, key.external_id.as_str().to_owned(), reference);
        }
        Ok(())
    }
}

/// What is to be asked for at the target.
fn unknown(wanted: &BTreeSet<Named>, references: &References) -> Vec<Named> {
    wanted.iter().filter(|named| is_unknown(references, named)).cloned().collect()
}

/// True if nothing is known of it, or not what it is called.
fn is_unknown(references: &References, (kind, value): &Named) -> bool {
    match references.get(*kind, value) {
        None => true,
        Some(Reference::Id(id) | Reference::Left(id)) => references.on_the_wire(*kind, id).is_none(),
        Some(Reference::InBatch(_) | Reference::Pending | Reference::Gone) => false,
    }
}

/// What this batch creates is a reference to an operation of it, unless members are called by a name.
fn adopt_from_batch(wanted: &BTreeSet<Named>, in_batch: &References, references: &mut References) {
    let by_name = references.need_names();
    for (kind, value) in wanted.iter().filter(|(kind, _)| *kind == ResourceType::Group || !by_name) {
        let has_id = matches!(references.get(*kind, value), Some(Reference::Id(_) | Reference::Left(_)));
        if let (Some(reference), false) = (in_batch.get(*kind, value), has_id) {
            references.insert(*kind, value.clone(), reference.clone());
        }
    }
}

/// The `userName` that a user has at the target, where that is known: what is wanted, once it is written.
fn user_name(key: &ResourceKey, record: &Record) -> Option<String> {
    let wanted = Matcher::UserName.wanted(key, record)?;
    let print = Fingerprint::of(&serde_json::Value::String(wanted.clone()));
    let applied = record.applied.as_ref()?.leaves.get(&Path::core("userName"))?;
    (*applied == print).then_some(wanted)
}
