//! What is wanted although no register says so: removal by absence from a `put`, activity of what was revived, our
//! `externalId`. In an intent it becomes registers, so that a letter can hold it and its verdict can bury it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::applied::Fingerprint;
use super::change::Register;
use super::desired::Presence;
use super::path::Path;
use super::record::Record;
use super::resource::ResourceKey;

/// The implied registers that are not applied, of a resource that the target is known to have.
pub fn implied(key: &ResourceKey, record: &Record) -> Vec<Register> {
    let Some(applied) = record.applied.as_ref().filter(|_| record.id.is_some() && !record.verify) else {
        return Vec::new();
    };
    let has = |path: &Path, value: &Value| applied.leaves.get(path) == Some(&Fingerprint::of(value));
    let mut registers = removals(record);
    let active = Path::core("active");
    let revived = record.desired.active() == Some(true) && !has(&active, &Value::Bool(true));
    let said = |path: &Path| record.desired.registers().any(|(held, _)| held == path);
    if let (true, false, Some(put)) = (revived, said(&active), record.desired.put()) {
        let revision = put.revision.clone();
        registers.push(Register::new(active, Some(Value::Bool(true)), revision));
    }
    let external_id = Path::core("externalId");
    let value = Value::String(key.external_id.as_str().to_owned());
    if let (false, false, Some(revision)) =
        (has(&external_id, &value), said(&external_id), record.desired.latest().cloned())
    {
        registers.push(Register::new(external_id, Some(value), revision));
    }
    registers
}

/// What is ours at the target, and absent from the `put`.
fn removals(record: &Record) -> Vec<Register> {
    let (Presence::Alive, Some(put)) = (record.desired.presence(), record.desired.put()) else {
        return Vec::new();
    };
    let wanted = record.desired.attributes();
    let dead = |path: &Path| record.desired.is_withheld(path) || record.desired.is_withheld(&path.root());
    let applied = record.applied.iter().flat_map(|applied| applied.leaves.keys());
    let ours: BTreeSet<&Path> = applied.chain(&record.maybe_ours).collect();
    let gone = ours
        .into_iter()
        .filter(|path| path.schema.is_some() || !matches!(path.attribute.as_str(), "active" | "externalId"))
        .filter(|path| !wanted.contains_key(&path.root()) && !dead(path));
    gone.map(|path| Register::new(path.clone(), None, put.revision.clone())).collect()
}
