//! Learning what the target has: finding by matchers, reading by id, resolving references.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::Value;

use super::Flush;
use super::batch::{Item, Items, Named, Ready};
use super::commit::may_be_listed_by_another_id;
use crate::core::applied::at;
use crate::core::desired::Presence;
use crate::core::dialect::TypeDialect;
use crate::core::letter::Class;
use crate::core::matching::{Match, Matcher, Term, choose, terms};
use crate::core::outcome::Answer;
use crate::core::path::Path;
use crate::core::plan::Purpose;
use crate::core::record::Record;
use crate::core::reference::{Reference, References};
use crate::core::resource::{ETag, ResourceKey, ResourceType, TargetId};
use crate::core::schedule::Lane;
use crate::core::settle::{self, Sight};
use crate::pipeline::letters::Reason;
use crate::pipeline::ports::{Failure, Load, Owner, Publisher, Query, Store, StoreError, Target};
use crate::pipeline::settings::{ABSENT_FOR, ReferenceKind};

/// Values asked for in one filter.
const QUERIES_PER_FILTER: usize = 40;
/// Reads in flight for one batch.
const READS: usize = 8;
/// References remembered as absent.
const MAX_ABSENT: usize = 100_000;

/// The version of a resource inside a list, where only `meta.version` tells.
fn listed_version(resource: &Value) -> Option<ETag> {
    let meta = at(resource, &Path::core("meta"))?;
    ETag::new(meta.get("version")?.as_str()?)
}

/// Says where the target keeps what somebody else wrote.
fn told(key: &ResourceKey, conceded: &[Path]) {
    if !conceded.is_empty() {
        let paths: Vec<String> = conceded.iter().map(ToString::to_string).collect();
        tracing::info!(resource = %key, paths = paths.join(" "), "the target keeps what was changed there: conflict policy target-wins");
    }
}

impl<S: Store, T: Target, P: Publisher> Flush<S, T, P> {
    /// The target had no resource of this type when it was first asked, or is sure to refuse a second one, and this one was
    /// never written. A create finds out (409), a patch or a delete would not, so those are looked up.
    pub(super) fn is_absent(&self, item: &Item) -> bool {
        let untouched = !item.record.verify && item.record.epoch == 0;
        let creates = item.record.desired.presence() == Presence::Alive;
        let dialect = self.settings.dialect.of(item.key.kind);
        let refused = dialect.refuses_existing && dialect.create;
        let spared = refused || self.learnt().empty.contains(&item.key.kind);
        untouched && creates && spared
    }

    /// After an unknown POST there is no second one before the first can't come any more (D6), not even where the target
    /// refuses what exists: the resource may have another name by now.
    pub(super) fn must_wait(&self, item: &Item, ready: &Ready) -> bool {
        let now = self.clock.now();
        ready.sent.purpose == Purpose::Create && item.record.no_create_before.is_some_and(|at| at > now)
    }

    /// Looks these up by externalId and matcher, several to a filter, and takes over what was found.
    pub(super) async fn find(&self, items: &mut Items, keys: &[ResourceKey]) -> Result<(), StoreError> {
        for kind in ResourceType::ALL {
            let dialect = self.settings.dialect.of(kind);
            let of_kind: Vec<&ResourceKey> = keys.iter().filter(|key| key.kind == kind).collect();
            for some in of_kind.chunks(QUERIES_PER_FILTER / 2) {
                let queries: Vec<Query> = some
                    .iter()
                    .filter_map(|key| items.get(key))
                    .flat_map(|item| queries(item, dialect))
                    .collect();
                match self.target.find(kind, &queries).await {
                    Ok(found) => self.take_over(items, some, &found).await?,
                    Err(failure) => self.could_not_look(items, some, &failure).await,
                }
            }
        }
        Ok(())
    }

    async fn take_over(
        &self,
        items: &mut Items,
        keys: &[&ResourceKey],
        found: &[Value],
    ) -> Result<(), StoreError> {
        // one at a time: forewarned resources that are looked up here as well would forewarn each other for ever
        let mut forewarned = false;
        for key in keys {
            let Some(item) = items.get_mut(key) else { continue };
            let terms = terms(key, &item.record, &self.settings.dialect.of(key.kind).matching);
            let mut chosen = choose(key, &terms, found, self.settings.adopt);
            if let (Match::None, Some(hidden)) = (&chosen, self.hidden(key, &item.record).await) {
                chosen = choose(key, &terms, &[hidden], self.settings.adopt);
            }
            match chosen {
                Match::None => {
                    settle::absent(&mut item.record);
                    item.absent = true;
                    item.changed = true;
                }
                Match::One(_, live) if self.may_be_anothers(key, &item.record, &live) => {
                    self.settle_no_create_yet(items, key).await?;
                }
                Match::One(id, live) => match self.own(key, &id).await? {
                    Owner::Ours => {
                        if item.record.id.as_ref() != Some(&id) && may_be_listed_by_another_id(&item.record) {
                            if std::mem::replace(&mut forewarned, true) {
                                items.remove(*key);
                                self.postpone(&[(*key).clone()], Lane::Update, self.settings.linger).await;
                                continue;
                            }
                            self.forewarn(key, &item.record).await?;
                        }
                        let answer = Answer { etag: listed_version(&live), ..Answer::default() };
                        let sight = self.sight(&live, &answer);
                        told(key, &settle::adopt(&mut item.record, key, id, &sight));
                        item.live = Some(live);
                        item.changed = true;
                    }
                    Owner::Other(other) => {
                        self.settle_foreign(items, key, &format!("it is {other}'s at the target")).await?;
                    }
                },
                Match::Foreign(by, claimed_by) if item.record.desired.presence() == Presence::Alive => {
                    let whose = match claimed_by {
                        Some(_) => "another externalId",
                        None => "no externalId, and matching.adopt is `never`",
                    };
                    let why = format!("a {} with this {} exists, and carries {whose}", key.kind, by.path());
                    self.settle_foreign(items, key, &why).await?;
                }
                Match::Foreign(..) => {
                    settle::absent(&mut item.record);
                    item.absent = true;
                    item.changed = true;
                }
                Match::Several(ids) => {
                    let ids: Vec<&str> = ids.iter().map(TargetId::as_str).collect();
                    let detail = format!("several resources match: ids {}", ids.join(", "));
                    self.settle_dead(items, key, Reason::of(Class::AmbiguousMatch, detail)).await?;
                }
            }
        }
        Ok(())
    }

    /// What was deleted there, and is only hidden: no lookup shows it, and a second one is refused.
    async fn hidden(&self, key: &ResourceKey, record: &Record) -> Option<Value> {
        let id = record.hidden_id()?;
        // whatever it says else, it is not there: then it stays refused
        let answer = self.target.read(key.kind, id).await.ok()?;
        answer.resource
    }

    /// What carries no externalId is not adopted while a POST of ours may still be processed: then there would be two.
    fn may_be_anothers(&self, key: &ResourceKey, record: &Record, live: &Value) -> bool {
        let external_id = at(live, &Path::core("externalId")).and_then(Value::as_str);
        let awaited = record.no_create_before.is_some_and(|until| until > self.clock.now());
        awaited && external_id != Some(key.external_id.as_str())
    }

    /// Claims a target resource; one whose owner was deleted at the source is handed over (D16).
    async fn own(&self, key: &ResourceKey, id: &TargetId) -> Result<Owner, StoreError> {
        let owner = self.store.own(key.kind, id, key).await?;
        let Owner::Other(other) = &owner else { return Ok(owner) };
        let loads = [Load { key: other.clone(), members: Vec::new() }];
        let loaded = self.store.load(&loads).await?.pop();
        let holds = loaded.is_some_and(|loaded| {
            loaded.record.id.as_ref() == Some(id) && loaded.record.desired.presence() != Presence::Deleted
        });
        if holds {
            return Ok(owner);
        }
        self.store.disown(key.kind, id, other).await?;
        self.store.own(key.kind, id, key).await
    }

    fn sight<'a>(&'a self, live: &'a Value, answer: &'a Answer) -> Sight<'a> {
        Sight { live, answer, etags: self.rules().etag, policy: &self.settings.conflict }
    }

    /// Reads these by id.
    pub(super) async fn read(&self, items: &mut Items, keys: &[ResourceKey]) -> Result<(), StoreError> {
        let known = keys.iter().filter_map(|key| Some((key.clone(), items.get(key)?.record.id.clone()?)));
        let reads = known.map(|(key, id)| async move {
            let answer = self.target.read(key.kind, &id).await;
            (key, answer)
        });
        let answers: Vec<_> = stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(READS).collect().await;
        for (key, answer) in answers {
            let Some(item) = items.get_mut(&key) else { continue };
            match answer {
                Ok(answer) => {
                    let live = answer.resource.clone().unwrap_or(Value::Null);
                    told(&key, &settle::observe(&mut item.record, &self.sight(&live, &answer)));
                    item.live = Some(live);
                    item.changed = true;
                }
                Err(Failure::Answered(answer)) if matches!(answer.status, 404 | 410) && answer.scim_error => {
                    // gone by that id: find it by its matchers
                    item.record.forget_target();
                    item.record.verify = true;
                    item.changed = true;
                }
                Err(failure) => self.could_not_look(items, &[&key], &failure).await,
            }
        }
        Ok(())
    }

    /// A lookup failed: the resources wait, and the target is paused where it is at fault. No attempt is used.
    pub(super) async fn could_not_look(&self, items: &mut Items, keys: &[&ResourceKey], failure: &Failure) {
        let wait = self.pause_for_failure(failure);
        let keys: Vec<ResourceKey> = keys.iter().map(|key| (*key).clone()).collect();
        for key in &keys {
            items.remove(key);
        }
        self.postpone(&keys, Lane::Update, wait.max(Duration::from_millis(20))).await;
    }

    /// Looks references up at the target, several to a filter. What is not there is remembered for a moment.
    /// A failure is the target's: what is not known then is not pending, but not known.
    pub(super) async fn resolve_at_target(
        &self,
        named: &[Named],
        references: &mut References,
    ) -> Result<(), Failure> {
        let now = self.clock.now();
        for kind in ResourceType::ALL {
            let Some(attribute) = self.reference_attribute(kind) else { continue };
            let ask: Vec<&String> = {
                let mut learnt = self.learnt();
                learnt.absent.retain(|_, since| now.since(*since) < ABSENT_FOR);
                let of_kind = named.iter().filter(|(of, _)| *of == kind && !learnt.empty.contains(&kind));
                of_kind.filter(|named| !learnt.absent.contains_key(*named)).map(|(_, value)| value).collect()
            };
            for some in ask.chunks(QUERIES_PER_FILTER) {
                self.resolve_some(kind, attribute, some, references).await?;
            }
        }
        Ok(())
    }

    /// By what references to this type are looked up; none: not at all.
    fn reference_attribute(&self, kind: ResourceType) -> Option<Matcher> {
        match (kind, self.settings.references) {
            (ResourceType::User, ReferenceKind::ExternalId) => Some(Matcher::ExternalId),
            (ResourceType::User, ReferenceKind::UserName) => Some(Matcher::UserName),
            (ResourceType::User, ReferenceKind::Email) => Some(Matcher::Email),
            // where a group's externalId is not the source's key, only groups of this relay are known
            (ResourceType::Group, _) => {
                let matching = &self.settings.dialect.groups.matching;
                matching.contains(&Matcher::ExternalId).then_some(Matcher::ExternalId)
            }
        }
    }

    async fn resolve_some(
        &self,
        kind: ResourceType,
        attribute: Matcher,
        some: &[&String],
        references: &mut References,
    ) -> Result<(), Failure> {
        let query = |value: &&String| Query { attribute: attribute.path(), value: (*value).clone() };
        let found = match self.target.find(kind, &some.iter().map(query).collect::<Vec<_>>()).await {
            Ok(found) => found,
            // it can't filter by that: they are pending until somebody creates them
            Err(Failure::Answered(answer)) if answer.status == 400 && answer.scim_error => return Ok(()),
            Err(failure) => return Err(failure),
        };
        let (ids, now) = (by_reference(attribute, &found), self.clock.now());
        let mut learnt = self.learnt();
        for value in some {
            match ids.get(&spelled(attribute, value)) {
                Some((id, name)) => {
                    if let Some(name) = name {
                        references.call(id, name.clone());
                    }
                    // what is known of it is known better
                    if references.get(kind, value).is_none() {
                        references.insert(kind, (*value).clone(), Reference::Id(id.clone()));
                    }
                }
                None if learnt.absent.len() < MAX_ABSENT => {
                    learnt.absent.insert((kind, (*value).clone()), now);
                }
                None => {}
            }
        }
        Ok(())
    }
}

/// References compare exactly by externalId, and in any case by user name or e-mail address.
fn spelled(attribute: Matcher, value: &str) -> String {
    match attribute {
        Matcher::ExternalId => value.to_owned(),
        Matcher::UserName | Matcher::DisplayName | Matcher::Email => value.to_lowercase(),
    }
}

/// The ids and user names of resources by what references call them; what two resources are called is nobody's name.
fn by_reference(attribute: Matcher, found: &[Value]) -> BTreeMap<String, (TargetId, Option<String>)> {
    let mut ids: BTreeMap<String, Option<(TargetId, Option<String>)>> = BTreeMap::new();
    let text = |resource: &Value, name: &str| {
        at(resource, &Path::core(name)).and_then(Value::as_str).map(str::to_owned)
    };
    for resource in found {
        let Some(id) = text(resource, "id").and_then(TargetId::new) else { continue };
        let names: Vec<String> = match attribute {
            Matcher::ExternalId | Matcher::UserName | Matcher::DisplayName => {
                text(resource, attribute.path()).into_iter().collect()
            }
            Matcher::Email => {
                let emails =
                    at(resource, &Path::core("emails")).and_then(Value::as_array).into_iter().flatten();
                emails.filter_map(|email| Some(email.get("value")?.as_str()?.to_owned())).collect()
            }
        };
        for name in names {
            let called = || Some((id.clone(), text(resource, "userName")));
            let slot = ids.entry(spelled(attribute, &name)).or_insert_with(called);
            if slot.as_ref().is_none_or(|(held, _)| *held != id) {
                *slot = None;
            }
        }
    }
    ids.into_iter().filter_map(|(name, id)| Some((name, id?))).collect()
}

/// By every matching attribute whose value is known and which the target can filter by; by the others where there is no
/// such attribute: these cost a listing.
fn queries(item: &Item, dialect: &TypeDialect) -> Vec<Query> {
    let known = terms(&item.key, &item.record, &dialect.matching);
    let can_filter = |term: &Term| dialect.filterable.contains(&term.matcher);
    let any = known.iter().any(can_filter);
    let asked = known.into_iter().filter(|term| !any || can_filter(term));
    asked.map(|term| Query { attribute: term.matcher.path(), value: term.value }).collect()
}
