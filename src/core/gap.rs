//! The gap: desired minus applied, and the one write that comes next to close it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::applied::{Applied, Fingerprint, at, leaves};
use super::desired::{Presence, Wanted, fold};
use super::dialect::{Dialect, UpdateBy};
use super::matching::Matcher;
use super::path::{ENTERPRISE, Path};
use super::record::Record;
use super::reference::{Reference, References};
use super::resource::{ResourceKey, ResourceType};

/// What a `delete` event does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deprovisioning {
    /// `active` becomes false.
    Deactivate,
    /// DELETE.
    Delete,
    /// It is recorded, nothing is sent.
    Keep,
}

/// What configuration and capabilities say about writing.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// ETags mean something: every update and delete carries one.
    pub etag: bool,
    /// PATCH works where the dialect updates by it; otherwise PUT with an overlay on a fresh GET.
    pub patch: bool,
    /// What a `delete` of a user does.
    pub user: Deprovisioning,
    /// What a `delete` of a group does.
    pub group: Deprovisioning,
    /// How the target wants to be written to.
    pub dialect: Arc<Dialect>,
}

impl Rules {
    /// What a `delete` of this type does. Groups have no `active`.
    pub fn deprovisioning(&self, kind: ResourceType) -> Deprovisioning {
        match (kind, self.user, self.group) {
            (ResourceType::User, user, _) => user,
            (ResourceType::Group, _, Deprovisioning::Deactivate) => Deprovisioning::Keep,
            (ResourceType::Group, _, group) => group,
        }
    }

    /// True if resources of this type are updated by PATCH.
    pub fn patches(&self, kind: ResourceType) -> bool {
        self.patch && self.dialect.of(kind).update == UpdateBy::Patch
    }
}

/// Leaves that are to change. Values are what goes on the wire.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Leaves to write, with the fingerprint that is remembered.
    pub set: BTreeMap<Path, Value>,
    /// Leaves to remove.
    pub remove: BTreeSet<Path>,
    /// Parts of attributes that were folded into `set`.
    pub parts: BTreeMap<Path, Fingerprint>,
    /// References that are not at the target yet.
    pub pending: BTreeSet<String>,
    /// References to what is deleted at the source: nothing to wait for, but they may come back.
    pub gone: BTreeSet<String>,
}

impl Changes {
    /// Nothing to write.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}

/// The gap of one resource, members apart.
#[derive(Clone, Debug, PartialEq)]
pub enum Gap {
    /// Nothing to write (references may be pending).
    None(Changes),
    /// The target's resource is not known: find it by its matchers.
    Find,
    /// The target's resource is to be read first.
    Read,
    /// Patches without a base, and the target does not have it.
    NoBase,
    /// It can't be closed: the target lacks the method. Why, in words.
    NotSupported(&'static str),
    /// It is to be created.
    Create(Changes),
    /// `active` becomes false, alone.
    Deactivate,
    /// It is to be deleted.
    Delete,
    /// Attributes are to be changed.
    Update(Changes),
}

/// What this flush has learnt about the target's resource.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen<'a> {
    /// Looked up (or listed) and not there.
    pub absent: bool,
    /// The resource as it was just read.
    pub live: Option<&'a Value>,
}

const ACTIVE: &str = "active";

/// Why a resource of a type that is only matched does not come into being.
const NO_CREATE: &str = "the target's profile has resources of this type matched only, and none matches";

/// Why a resource of a type that can't be deleted stays.
const NO_DELETE: &str = "the target's profile has no DELETE for resources of this type: see `deprovision`";

/// The path of the manager reference.
pub fn manager() -> Path {
    Path::extension(ENTERPRISE, "manager").with_sub("value")
}

/// Computes the gap. `references` resolves what the attributes name.
pub fn gap(
    key: &ResourceKey,
    record: &Record,
    rules: &Rules,
    seen: Seen<'_>,
    references: &References,
) -> Gap {
    if record.verify && seen.live.is_none() && !seen.absent {
        return if record.id.is_some() { Gap::Read } else { Gap::Find };
    }
    match (record.desired.presence(), &record.id) {
        (Presence::Deleted, Some(_)) => gap_of_deleted(key, record, rules, seen),
        (Presence::Deleted, None) => match record.gone || seen.absent {
            true => Gap::None(Changes::default()),
            false => Gap::Find,
        },
        (Presence::Alive | Presence::Unborn, Some(_)) => gap_of_known(key, record, rules, seen, references),
        (Presence::Alive, None) if seen.absent && !rules.dialect.of(key.kind).create => {
            Gap::NotSupported(NO_CREATE)
        }
        (Presence::Alive, None) => match seen.absent {
            true => Gap::Create(changes(key, record, rules, seen, references).unwrap_or_default()),
            false => Gap::Find,
        },
        (Presence::Unborn, None) if is_quiet_without_base(record) => Gap::None(Changes::default()),
        (Presence::Unborn, None) if seen.absent => Gap::NoBase,
        (Presence::Unborn, None) => Gap::Find,
    }
}

/// Nothing is wanted of a resource that exists nowhere: all that was said is dead or held.
fn is_quiet_without_base(record: &Record) -> bool {
    record.desired.registers().all(|(_, held)| !held.mark.is_wanted()) && !record.scan_members
}

/// True if all that is wanted of a resource without a base is that it be inactive: where it exists nowhere, it is.
pub fn wants_only_inactive(record: &Record) -> bool {
    let mut live = record.desired.registers().filter(|(_, held)| held.mark.is_wanted());
    record.desired.active() == Some(false) && live.all(|(path, _)| path.attribute == ACTIVE)
}

fn gap_of_deleted(key: &ResourceKey, record: &Record, rules: &Rules, seen: Seen<'_>) -> Gap {
    let write = match rules.deprovisioning(key.kind) {
        Deprovisioning::Keep => return Gap::None(Changes::default()),
        Deprovisioning::Deactivate if record.is_inactive() => return Gap::None(Changes::default()),
        Deprovisioning::Deactivate => Gap::Deactivate,
        Deprovisioning::Delete if !rules.dialect.of(key.kind).delete => return Gap::NotSupported(NO_DELETE),
        Deprovisioning::Delete => Gap::Delete,
    };
    fenced(key.kind, record, rules, seen, write)
}

/// A write that needs an ETag, or the live resource to overlay, is preceded by a read.
fn fenced(kind: ResourceType, record: &Record, rules: &Rules, seen: Seen<'_>, write: Gap) -> Gap {
    let needs_etag = rules.etag && record.etag.is_none();
    let needs_body = !rules.patches(kind) && write != Gap::Delete;
    match seen.live.is_none() && (needs_etag || needs_body) {
        true => Gap::Read,
        false => write,
    }
}

fn gap_of_known(
    key: &ResourceKey,
    record: &Record,
    rules: &Rules,
    seen: Seen<'_>,
    references: &References,
) -> Gap {
    if record.applied.is_none() && seen.live.is_none() {
        return Gap::Read;
    }
    if key.kind == ResourceType::User && record.desired.active() == Some(false) && !record.is_inactive() {
        return fenced(key.kind, record, rules, seen, Gap::Deactivate);
    }
    match changes(key, record, rules, seen, references) {
        None => Gap::Read,
        Some(changes) if changes.is_empty() => Gap::None(changes),
        Some(changes) => fenced(key.kind, record, rules, seen, Gap::Update(changes)),
    }
}

/// The leaves to change; none: the live resource is needed to tell.
fn changes(
    key: &ResourceKey,
    record: &Record,
    rules: &Rules,
    seen: Seen<'_>,
    references: &References,
) -> Option<Changes> {
    let nothing = Applied::default();
    let applied = record.applied.as_ref().unwrap_or(&nothing);
    let mut wants = Wants::default();
    for (root, wanted) in record.desired.attributes() {
        wants.add(root, wanted, applied, seen, record.id.is_none())?;
    }
    wants.add_identity(key, record, rules);
    let mut changes = Changes { parts: wants.parts, ..Changes::default() };
    resolve(&mut wants.leaves, references, &mut changes, &mut wants.kept);
    let removable = |path: &Path| removable(path, record, &wants.leaves, &wants.kept, &wants.removed);
    let owned = applied.leaves.keys().chain(&record.maybe_ours);
    changes.remove = owned.filter(|path| removable(path)).cloned().collect();
    let differs = |(path, value): &(Path, Value)| applied.leaves.get(path) != Some(&Fingerprint::of(value));
    changes.set = wants.leaves.into_iter().filter(differs).collect();
    Some(changes)
}

fn removable(
    path: &Path,
    record: &Record,
    wanted: &BTreeMap<Path, Value>,
    kept: &BTreeSet<Path>,
    removed: &BTreeSet<Path>,
) -> bool {
    let root = path.root();
    let ours = !matches!(root.attribute.as_str(), ACTIVE | "externalId") || root.schema.is_some();
    let removed = removed.contains(&root) || removed.contains(path);
    let said = record.desired.presence() == Presence::Alive || removed;
    let dead = record.desired.is_withheld(&root) || record.desired.is_withheld(path);
    ours && said && !wanted.contains_key(path) && !kept.contains(&root) && !dead
}

/// What is wanted, as leaves.
#[derive(Default)]
struct Wants {
    leaves: BTreeMap<Path, Value>,
    /// Attributes and sub-attributes that are explicitly not wanted.
    removed: BTreeSet<Path>,
    /// Attributes that stay as they are.
    kept: BTreeSet<Path>,
    parts: BTreeMap<Path, Fingerprint>,
}

impl Wants {
    /// Adds one whole attribute; none: the live resource is needed to tell.
    fn add(
        &mut self,
        root: Path,
        wanted: Wanted,
        applied: &Applied,
        seen: Seen<'_>,
        creating: bool,
    ) -> Option<()> {
        match wanted {
            Wanted::Whole(Some(value)) => self.leaves.extend(leaves(&root, &value)),
            Wanted::Whole(None) => drop(self.removed.insert(root)),
            // each is a leaf of its own: what else is in the attribute is not ours
            Wanted::Parts(parts) if are_leaves(&parts) => {
                for (path, value) in parts {
                    match value {
                        Some(value) => drop(self.leaves.insert(path, value)),
                        None => drop(self.removed.insert(path)),
                    }
                }
            }
            Wanted::Parts(parts) => {
                let print = Fingerprint::of(&parts_text(&parts));
                if applied.parts.get(&root) == Some(&print) {
                    self.kept.insert(root);
                    return Some(());
                }
                let live = match (seen.live, creating) {
                    (Some(live), _) => at(live, &root).cloned(),
                    (None, true) => None,
                    (None, false) => return None,
                };
                match fold(live, &parts) {
                    Some(value) => self.leaves.extend(leaves(&root, &value)),
                    None => drop(self.removed.insert(root.clone())),
                }
                self.parts.insert(root, print);
            }
        }
        Some(())
    }

    /// What the relay writes itself: `externalId` where it is the source's to say, and `active` where something is said about
    /// it.
    fn add_identity(&mut self, key: &ResourceKey, record: &Record, rules: &Rules) {
        let external_id = Path::core("externalId");
        let is_ours = rules.dialect.of(key.kind).matching.contains(&Matcher::ExternalId);
        if is_ours && !record.desired.is_withheld(&external_id) {
            self.leaves.insert(external_id, Value::String(key.external_id.as_str().to_owned()));
        }
        if key.kind == ResourceType::User {
            let said = record.desired.active().or(record.id.is_none().then_some(true));
            self.leaves.extend(said.map(|active| (Path::core(ACTIVE), Value::Bool(active))));
        }
    }
}

/// True if these are sub-attributes, and not elements of a multi-valued attribute.
pub fn are_leaves(parts: &[(Path, Option<Value>)]) -> bool {
    parts.iter().all(|(path, _)| path.selector.is_none())
}

fn parts_text(parts: &[(Path, Option<Value>)]) -> Value {
    let text = |(path, value): &(Path, Option<Value>)| (path.to_string(), Value::from(vec![value.clone()]));
    Value::Object(parts.iter().map(text).collect())
}

/// Replaces the manager's key by its target id; a pending one stays as it is at the target.
fn resolve(
    leaves: &mut BTreeMap<Path, Value>,
    references: &References,
    changes: &mut Changes,
    kept: &mut BTreeSet<Path>,
) {
    let path = manager();
    leaves.retain(|leaf, _| leaf.root() != path.root() || *leaf == path);
    let Some(Value::String(name)) = leaves.get(&path).cloned() else { return };
    match references.get(ResourceType::User, &name) {
        Some(Reference::Id(id) | Reference::Left(id)) => {
            leaves.insert(path, Value::String(id.as_str().to_owned()));
        }
        Some(Reference::InBatch(id)) => drop(leaves.insert(path, Value::String(format!("bulkId:{id}")))),
        Some(Reference::Gone) => {
            leaves.remove(&path);
            kept.insert(path.root());
            changes.gone.insert(name);
        }
        Some(Reference::Pending) | None => {
            leaves.remove(&path);
            kept.insert(path.root());
            changes.pending.insert(name);
        }
    }
}

/// The references that a record's attributes name.
pub fn references(record: &Record) -> Option<String> {
    match record.desired.attributes().remove(&manager().root())? {
        Wanted::Whole(Some(value)) => Some(value.get("value")?.as_str()?.to_owned()),
        Wanted::Whole(None) => None,
        Wanted::Parts(parts) => parts.into_iter().find_map(|(_, value)| Some(value?.as_str()?.to_owned())),
    }
}

/// The paths at which the target's resource is compared: what is wanted, and what is (perhaps) ours.
pub fn interest(record: &Record) -> BTreeSet<Path> {
    let mut paths: BTreeSet<Path> = record.maybe_ours.union(&record.late_leaves).cloned().collect();
    paths.extend(record.applied.iter().flat_map(|applied| applied.leaves.keys().cloned()));
    paths.extend([Path::core("externalId"), Path::core(ACTIVE)]);
    for (root, wanted) in record.desired.attributes() {
        match wanted {
            Wanted::Whole(Some(value)) => {
                paths.extend(leaves(&root, &value).into_iter().map(|(path, _)| path))
            }
            Wanted::Parts(parts) if are_leaves(&parts) => {
                paths.extend(parts.into_iter().map(|(path, _)| path))
            }
            Wanted::Whole(None) | Wanted::Parts(_) => drop(paths.insert(root)),
        }
    }
    paths
}
