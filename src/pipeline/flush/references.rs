//! References by `bulkId`, once it is known which ids they became.

use std::collections::BTreeMap;

use serde_json::Value;

use super::batch::Ready;
use crate::core::applied::Fingerprint;
use crate::core::gap::manager;
use crate::core::operation::Write;
use crate::core::reference::Reference;
use crate::core::resource::TargetId;

impl Ready {
    /// Replaces `bulkId` references by the ids that they became in an earlier request.
    pub(super) fn resolve_references(&mut self, ids: &BTreeMap<String, TargetId>) {
        let known: Vec<String> =
            self.sent.in_batch.iter().filter(|id| ids.contains_key(*id)).cloned().collect();
        if known.is_empty() {
            return;
        }
        match &mut self.operation.write {
            Write::Create { body } | Write::Patch { body, .. } | Write::Put { body, .. } => {
                replace(body, ids)
            }
            Write::Delete { .. } => {}
        }
        for (_, reference) in &mut self.sent.added {
            if let Reference::InBatch(bulk_id) = reference
                && let Some(id) = ids.get(bulk_id)
            {
                *reference = Reference::Id(id.clone());
            }
        }
        for bulk_id in known {
            let as_sent = Fingerprint::of(&Value::String(format!("bulkId:{bulk_id}")));
            let id = &ids[&bulk_id];
            if self.sent.set.get(&manager()) == Some(&as_sent) {
                self.sent.set.insert(manager(), Fingerprint::of(&Value::String(id.as_str().to_owned())));
            }
            self.sent.in_batch.remove(&bulk_id);
        }
    }
}

fn replace(value: &mut Value, ids: &BTreeMap<String, TargetId>) {
    match value {
        Value::String(text) => {
            if let Some(id) = text.strip_prefix("bulkId:").and_then(|bulk_id| ids.get(bulk_id)) {
                *text = id.as_str().to_owned();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, ids)),
        Value::Object(map) => map.values_mut().for_each(|item| replace(item, ids)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
