//! Resolving what resources name: members and managers, by our own records, by what the batch creates, and at the target.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::Flush;
use super::batch::{Item, Items};
use crate::core::applied::Fingerprint;
use crate::core::desired::Presence;
use crate::core::listing::Memberships;
use crate::core::matching::Matcher;
use crate::core::path::Path;
use crate::core::record::{Record, user_key};
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

    /// Resolves what the items name: by our own records, then by this batch, then at the target.
    pub(super) async fn resolve(
        &self,
        kind: ResourceType,
        items: &mut Items,
        in_batch: &References,
    ) -> Result<References, StoreError> {
        let mut references = self.unresolved(kind);
        let all = references.need_names();
        let wanted: BTreeSet<String> = items.values().flat_map(|item| item.references(all)).collect();
        if self.settings.references == ReferenceKind::ExternalId {
            self.list(items).await?;
            self.resolve_from_records(&wanted, &mut references).await?;
        }
        if !all {
            adopt_from_batch(&wanted, in_batch, &mut references);
        }
        let unknown: Vec<String> =
            wanted.into_iter().filter(|value| is_unknown(&references, value)).collect();
        if let Err(failure) = self.resolve_at_target(&unknown, &mut references).await {
            let open = |value: &String| unknown.contains(value) && is_unknown(&references, value);
            let waiting = items.values().filter(|item: &&Item| item.references(all).iter().any(open));
            let waiting: Vec<ResourceKey> = waiting.map(|item| item.key.clone()).collect();
            self.could_not_look(items, &waiting.iter().collect::<Vec<_>>(), &failure).await;
        }
        Ok(references)
    }

    /// Who lists a user is told when it gets another id, or leaves: registered before it is looked at, so that nothing is
    /// missed in between.
    async fn list(&self, items: &Items) -> Result<(), StoreError> {
        let named = |item: &Item| item.references(false).into_iter().filter_map(|value| user_key(&value));
        let listed = items.values().flat_map(|item| named(item).map(|on| (on, &item.key)));
        let listed: Vec<(ResourceKey, &ResourceKey)> = listed.collect();
        let registered = join_all(listed.iter().map(|(on, key)| self.store.depend(on, key))).await;
        registered.into_iter().collect::<Result<Vec<_>, StoreError>>().map(drop)
    }

    /// Resolves users by our own records, and at the target.
    pub(super) async fn look_up(
        &self,
        wanted: &BTreeSet<String>,
        references: &mut References,
    ) -> Result<Result<(), Failure>, StoreError> {
        if self.settings.references == ReferenceKind::ExternalId {
            self.resolve_from_records(wanted, references).await?;
        }
        let unknown: Vec<String> =
            wanted.iter().filter(|value| is_unknown(references, value)).cloned().collect();
        Ok(self.resolve_at_target(&unknown, references).await)
    }

    /// Resolves users by what is stored about them.
    pub(super) async fn resolve_from_records(
        &self,
        wanted: &BTreeSet<String>,
        references: &mut References,
    ) -> Result<(), StoreError> {
        let keys: Vec<(&String, ResourceKey)> =
            wanted.iter().filter_map(|v| Some((v, user_key(v)?))).collect();
        let loads: Vec<Load> =
            keys.iter().map(|(_, key)| Load { key: key.clone(), members: Vec::new() }).collect();
        if loads.is_empty() {
            return Ok(());
        }
        let removes = self.settings.memberships == Memberships::Remove;
        for ((value, key), loaded) in keys.into_iter().zip(self.store.load(&loads).await?) {
            let record = loaded.record;
            if let (Some(id), Some(name)) = (&record.id, user_name(&key, &record)) {
                references.call(id, name);
            }
            let reference = match (record.id, record.desired.presence()) {
                (Some(id), _) if record.listing.left && removes => Reference::Left(id),
                (Some(id), _) => Reference::Id(id),
                (None, Presence::Deleted) => Reference::Gone,
                (None, Presence::Alive) => Reference::Pending,
                (None, Presence::Unborn) => continue,
            };
            references.insert(ResourceType::User, value.clone(), reference);
        }
        Ok(())
    }
}

/// True if this is to be asked for at the target: nothing is known of it, or not what it is called.
fn is_unknown(references: &References, value: &str) -> bool {
    match references.get(ResourceType::User, value) {
        None => true,
        Some(Reference::Id(id) | Reference::Left(id)) => {
            references.on_the_wire(ResourceType::User, id).is_none()
        }
        Some(Reference::InBatch(_) | Reference::Pending | Reference::Gone) => false,
    }
}

/// What this batch creates is a reference to an operation of it.
fn adopt_from_batch(wanted: &BTreeSet<String>, in_batch: &References, references: &mut References) {
    for value in wanted {
        let has_id =
            matches!(references.get(ResourceType::User, value), Some(Reference::Id(_) | Reference::Left(_)));
        if let (Some(reference), false) = (in_batch.get(ResourceType::User, value), has_id) {
            references.insert(ResourceType::User, value.clone(), reference.clone());
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
