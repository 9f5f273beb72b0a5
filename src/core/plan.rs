//! Plans: the write that closes a gap, and the note of what it says, for the commit.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::applied::{Fingerprint, put_leaf, take_leaf};
use super::dialect::{MemberRemoval, MemberValue, WholeList};
use super::gap::{Changes, manager};
use super::ledger::MemberChanges;
use super::operation::{Operation, Write};
use super::path::Path;
use super::record::Record;
use super::reference::Reference;
use super::resource::{ResourceKey, ResourceType, TargetId};
use super::schedule::Lane;

/// The schema of a PATCH body (RFC 7644 s3.5.2).
pub const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// What a write is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// The resource comes into being.
    Create,
    /// Attributes change.
    Update,
    /// `active` becomes false, and nothing else.
    Deactivate,
    /// The resource goes.
    Delete,
    /// Members come and go.
    Members,
}

impl Purpose {
    /// The lane in which such a write goes out.
    pub const fn lane(self) -> Lane {
        match self {
            Purpose::Deactivate | Purpose::Delete => Lane::Deprovision,
            Purpose::Create => Lane::Create,
            Purpose::Update => Lane::Update,
            Purpose::Members => Lane::Members,
        }
    }
}

/// What was sent, as far as the commit needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// What for.
    pub purpose: Purpose,
    /// Leaves written.
    pub set: BTreeMap<Path, Fingerprint>,
    /// Leaves removed.
    pub removed: BTreeSet<Path>,
    /// Parts folded in.
    pub parts: BTreeMap<Path, Fingerprint>,
    /// Members added: their value, and what they are on the wire.
    pub added: Vec<(String, Reference)>,
    /// Members removed: their value and the target id.
    pub dropped: Vec<(String, TargetId)>,
    /// It says who all the members are.
    pub whole_list: bool,
    /// References in it that were resolved by a `bulkId`.
    pub in_batch: BTreeSet<String>,
}

impl Sent {
    fn new(purpose: Purpose) -> Self {
        Self {
            purpose,
            set: BTreeMap::new(),
            removed: BTreeSet::new(),
            parts: BTreeMap::new(),
            added: Vec::new(),
            dropped: Vec::new(),
            whole_list: false,
            in_batch: BTreeSet::new(),
        }
    }

    /// The leaves that may be ours from now on, whatever comes of the request.
    pub fn leaves(&self) -> impl Iterator<Item = &Path> {
        self.set.keys()
    }

    /// True if it changes attributes and members of what exists.
    pub fn is_joined(&self) -> bool {
        self.purpose == Purpose::Update && !(self.added.is_empty() && self.dropped.is_empty())
    }

    /// True if it names other resources.
    pub fn has_references(&self) -> bool {
        !self.added.is_empty() || self.set.contains_key(&manager())
    }
}

/// A write and the note of what it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// The write.
    pub operation: Operation,
    /// The note.
    pub sent: Sent,
}

fn prints(set: &BTreeMap<Path, Value>) -> BTreeMap<Path, Fingerprint> {
    set.iter().map(|(path, value)| (path.clone(), Fingerprint::of(value))).collect()
}

/// References of `changes` that are `bulkId`s.
fn in_batch(members: &[(String, Reference)], set: &BTreeMap<Path, Value>) -> BTreeSet<String> {
    let members = members.iter().filter_map(|(_, reference)| match reference {
        Reference::InBatch(id) => Some(id.clone()),
        Reference::Id(_) | Reference::Left(_) | Reference::Pending | Reference::Gone => None,
    });
    let manager = set.get(&manager()).and_then(Value::as_str).and_then(|text| text.strip_prefix("bulkId:"));
    members.chain(manager.map(str::to_owned)).collect()
}

fn member_value(changes: &MemberChanges, value: &str, reference: &Reference) -> Option<Value> {
    let wire = match reference {
        Reference::Id(id) => changes.on_the_wire(id).to_owned(),
        Reference::InBatch(id) => format!("bulkId:{id}"),
        Reference::Left(_) | Reference::Pending | Reference::Gone => return None,
    };
    // of users it goes without saying, and not everybody knows the word
    Some(match changes.groups.contains(value) {
        true => json!({ "value": wire, "type": ResourceType::Group.name() }),
        false => json!({ "value": wire }),
    })
}

/// A POST of the whole resource, the first members included.
pub fn create(key: &ResourceKey, bulk_id: String, changes: Changes, members: MemberChanges) -> Planned {
    let mut body = Map::new();
    let mut schemas = BTreeSet::new();
    for (path, value) in &changes.set {
        schemas.extend(path.schema.as_ref().map(ToString::to_string));
        put_leaf(&mut body, path, value.clone());
    }
    let schemas = std::iter::once(key.kind.schema().to_owned()).chain(schemas);
    body.insert("schemas".into(), schemas.collect());
    if !members.add.is_empty() {
        let values =
            members.add.iter().filter_map(|(value, reference)| member_value(&members, value, reference));
        body.insert("members".into(), values.collect());
    }
    let sent = Sent {
        set: prints(&changes.set),
        parts: changes.parts,
        in_batch: in_batch(&members.add, &changes.set),
        added: members.add,
        ..Sent::new(Purpose::Create)
    };
    let write = Write::Create { body: Value::Object(body) };
    Planned { operation: Operation { key: key.clone(), bulk_id, write }, sent }
}

/// The change of attributes: a minimal PATCH, or a PUT with an overlay on the resource as it was just read.
pub fn update(
    key: &ResourceKey,
    record: &Record,
    id: TargetId,
    bulk_id: String,
    changes: Changes,
    overlay: Option<&Value>,
) -> Planned {
    let write = match overlay {
        None => {
            let set = changes.set.iter().map(|(path, value)| replace(path, value));
            let removed =
                changes.remove.iter().map(|path| json!({ "op": "remove", "path": whole_manager(path) }));
            let body = patch_op(set.chain(removed).collect());
            Write::Patch { id, version: record.etag.clone(), body }
        }
        Some(live) => Write::Put {
            id,
            version: record.etag.clone(),
            body: overlaid(live, &changes.set, &changes.remove),
        },
    };
    let sent = Sent {
        set: prints(&changes.set),
        in_batch: in_batch(&[], &changes.set),
        removed: changes.remove,
        parts: changes.parts,
        ..Sent::new(Purpose::Update)
    };
    Planned { operation: Operation { key: key.clone(), bulk_id, write }, sent }
}

/// The change of a group's attributes together with a delta of its members, in one PATCH: what fails of it is done apart.
pub fn update_with_members(
    key: &ResourceKey,
    record: &Record,
    id: TargetId,
    bulk_id: String,
    changes: Changes,
    (delta, removal): (MemberChanges, MemberRemoval),
) -> Planned {
    let style = MemberStyle::Patch(removal);
    let mut planned = update(key, record, id.clone(), bulk_id.clone(), changes, None);
    let with = members(key, record, id, bulk_id, delta, style);
    if let (Write::Patch { body, .. }, Some(Value::Array(more))) =
        (&mut planned.operation.write, with.operation.body().map(|body| body["Operations"].clone()))
        && let Some(Value::Array(operations)) = body.get_mut("Operations")
    {
        operations.extend(more);
    }
    let Sent { added, dropped, in_batch, .. } = with.sent;
    planned.sent.in_batch.extend(in_batch);
    planned.sent = Sent { added, dropped, ..planned.sent };
    planned
}

/// `active` becomes false, and nothing else.
pub fn deactivate(
    key: &ResourceKey,
    record: &Record,
    id: TargetId,
    bulk_id: String,
    overlay: Option<&Value>,
) -> Planned {
    let set = BTreeMap::from([(Path::core("active"), Value::Bool(false))]);
    let changes = Changes { set, ..Changes::default() };
    let mut planned = update(key, record, id, bulk_id, changes, overlay);
    planned.sent.purpose = Purpose::Deactivate;
    planned
}

/// A DELETE.
pub fn delete(key: &ResourceKey, record: &Record, id: TargetId, bulk_id: String) -> Planned {
    let write = Write::Delete { id, version: record.etag.clone() };
    Planned { operation: Operation { key: key.clone(), bulk_id, write }, sent: Sent::new(Purpose::Delete) }
}

/// How the members of a group are written.
#[derive(Clone, Copy, Debug)]
pub enum MemberStyle<'a> {
    /// A PATCH that takes members out in this way.
    Patch(MemberRemoval),
    /// A PUT of the group as it was just read, with users as members in this form.
    Put(&'a Value, MemberValue),
}

/// A delta of members: never the list. As a PUT it is the list as it was just read, changed.
pub fn members(
    key: &ResourceKey,
    record: &Record,
    id: TargetId,
    bulk_id: String,
    changes: MemberChanges,
    style: MemberStyle<'_>,
) -> Planned {
    let added: Vec<Value> = changes
        .add
        .iter()
        .filter_map(|(value, reference)| member_value(&changes, value, reference))
        .collect();
    let gone: Vec<&str> = changes.remove.iter().map(|(_, id)| changes.on_the_wire(id)).collect();
    let version = record.etag.clone();
    let write = match style {
        MemberStyle::Patch(removal) => {
            let dropped = remove_members(&gone, removal);
            let add = (!added.is_empty()).then(|| json!({ "op": "add", "path": "members", "value": added }));
            Write::Patch { id, version, body: patch_op(dropped.into_iter().chain(add).collect()) }
        }
        MemberStyle::Put(live, value) => {
            Write::Put { id, version, body: with_members(live, added, &gone, value) }
        }
    };
    let sent = Sent {
        in_batch: in_batch(&changes.add, &BTreeMap::new()),
        added: changes.add,
        dropped: changes.remove,
        ..Sent::new(Purpose::Members)
    };
    Planned { operation: Operation { key: key.clone(), bulk_id, write }, sent }
}

/// The whole list of a group's members, where the target allows it and nothing else tells who is in it.
pub fn member_list(
    key: &ResourceKey,
    record: &Record,
    id: TargetId,
    bulk_id: String,
    members: &[String],
    how: WholeList,
) -> Planned {
    let values: Vec<Value> = members.iter().map(|member| json!({ "value": member })).collect();
    let operation = match how {
        WholeList::Replace => json!({ "op": "replace", "path": "members", "value": values }),
        WholeList::RemoveAll => json!({ "op": "remove", "path": "members" }),
    };
    let write = Write::Patch { id, version: record.etag.clone(), body: patch_op(vec![operation]) };
    let sent = Sent { whole_list: true, ..Sent::new(Purpose::Members) };
    Planned { operation: Operation { key: key.clone(), bulk_id, write }, sent }
}

fn patch_op(operations: Vec<Value>) -> Value {
    json!({ "schemas": [PATCH_OP], "Operations": operations })
}

fn replace(path: &Path, value: &Value) -> Value {
    match *path == manager() {
        true => json!({ "op": "replace", "path": whole_manager(path), "value": { "value": value } }),
        false => json!({ "op": "replace", "path": path, "value": value }),
    }
}

/// The manager is written whole: providers differ about its sub-attribute as a path.
fn whole_manager(path: &Path) -> Path {
    if *path == manager() { path.root() } else { path.clone() }
}

/// Operations that take these out; none for nobody: a removal that names no value would empty the group.
fn remove_members(members: &[&str], removal: MemberRemoval) -> Vec<Value> {
    let values: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
    match removal {
        MemberRemoval::FilterPath => members.iter().map(|id| remove_member(id)).collect(),
        MemberRemoval::ValueList if values.is_empty() => Vec::new(),
        MemberRemoval::ValueList => vec![json!({ "op": "remove", "path": "members", "value": values })],
    }
}

fn remove_member(id: &str) -> Value {
    let value = Value::String(id.to_owned());
    json!({ "op": "remove", "path": format!("members[value eq {value}]") })
}

fn writable(live: &Value) -> Map<String, Value> {
    let mut body = live.as_object().cloned().unwrap_or_default();
    body.retain(|name, _| !["meta", "groups", "password"].iter().any(|n| name.eq_ignore_ascii_case(n)));
    body
}

fn overlaid(live: &Value, set: &BTreeMap<Path, Value>, remove: &BTreeSet<Path>) -> Value {
    let mut body = writable(live);
    for (path, value) in set {
        put_leaf(&mut body, path, value.clone());
        if let (Some(schema), Some(Value::Array(schemas))) = (&path.schema, body.get_mut("schemas"))
            && !schemas.iter().any(|s| s.as_str().is_some_and(|s| s.eq_ignore_ascii_case(schema)))
        {
            schemas.push(Value::String(schema.to_string()));
        }
    }
    for path in remove {
        take_leaf(&mut body, path);
    }
    Value::Object(body)
}

fn with_members(live: &Value, added: Vec<Value>, dropped: &[&str], value: MemberValue) -> Value {
    let mut body = writable(live);
    let mut members = match body.remove("members") {
        Some(Value::Array(members)) => members,
        _ => Vec::new(),
    };
    let id_of = |member: &Value| member.get("value").and_then(Value::as_str).map(|id| value.spelled(id));
    let dropped: BTreeSet<String> = dropped.iter().map(|id| value.spelled(id)).collect();
    members.retain(|member| id_of(member).is_none_or(|id| !dropped.contains(&id)));
    let known: BTreeSet<String> = members.iter().filter_map(id_of).collect();
    members.extend(added.into_iter().filter(|member| id_of(member).is_some_and(|id| !known.contains(&id))));
    body.insert("members".into(), Value::Array(members));
    Value::Object(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removal(ids: &[&str], removal: MemberRemoval) -> Value {
        Value::from(remove_members(ids, removal))
    }

    #[test]
    fn members_go_by_filter_or_by_list_as_the_dialect_says() {
        let by_filter = removal(&["a", "b\"c"], MemberRemoval::FilterPath);
        assert_eq!(
            by_filter,
            json!([
                { "op": "remove", "path": "members[value eq \"a\"]" },
                { "op": "remove", "path": "members[value eq \"b\\\"c\"]" },
            ])
        );
        let by_list = removal(&["a", "b"], MemberRemoval::ValueList);
        assert_eq!(
            by_list,
            json!([{ "op": "remove", "path": "members", "value": [{ "value": "a" }, { "value": "b" }] }])
        );
    }

    #[test]
    fn a_removal_of_nobody_is_none() {
        for how in [MemberRemoval::FilterPath, MemberRemoval::ValueList] {
            assert_eq!(removal(&[], how), json!([]));
        }
    }
}
