//! Operations on one attribute of the resource or of an extension.

use serde_json::{Map, Value, json};

use super::{Op, Site, elements};
use crate::sandbox::error::Refusal;
use crate::sandbox::path::{key_of, remove};

/// Applies an operation to the attribute `site` of `holder`. `value` is there unless something is removed.
pub fn apply(
    holder: &mut Map<String, Value>,
    op: Op,
    site: &Site<'_>,
    value: Option<&Value>,
) -> Result<(), Refusal> {
    site.check_shape()?;
    let key = if holder.contains_key(site.name) { site.name.to_owned() } else { key_of(holder, site.name) };
    if site.filter.is_some() {
        elements::apply_where(holder, &key, op, site, value)?;
    } else {
        match (op, value, site.sub) {
            (Op::Remove, value, None) => remove_all(holder, &key, site, value)?,
            (Op::Remove, _, Some(sub)) => remove_sub(holder, &key, site, sub)?,
            (Op::Add | Op::Replace, Some(value), Some(sub)) => set_sub(holder, &key, site, sub, value)?,
            (Op::Add, Some(value), None) => add(holder, key.clone(), site, value),
            (Op::Replace, Some(value), None) => replace(holder, key.clone(), site, value),
            (Op::Add | Op::Replace, None, _) => {}
        }
    }
    drop_unassigned(holder, &key);
    Ok(())
}

fn add(holder: &mut Map<String, Value>, key: String, site: &Site<'_>, value: &Value) {
    let before = holder.get_mut(&key);
    match (before, value) {
        (Some(Value::Array(list)), value) => elements::append(list, as_list(value)),
        (Some(Value::Object(before)), Value::Object(value)) => before.extend(value.clone()),
        (None, value) if is_multi(site) => {
            let mut list = Vec::new();
            elements::append(&mut list, as_list(value));
            holder.insert(key, list.into());
        }
        (_, value) => {
            holder.insert(key, value.clone());
        }
    }
}

fn replace(holder: &mut Map<String, Value>, key: String, site: &Site<'_>, value: &Value) {
    match (holder.get_mut(&key), value) {
        // "Sub-attributes that are not specified in the value parameter are left unchanged"
        (Some(Value::Object(before)), Value::Object(value)) if !is_multi(site) => {
            before.extend(value.clone());
        }
        (_, Value::Null) => {
            holder.remove(&key);
        }
        (_, value) if is_multi(site) => {
            holder.insert(key, as_list(value).into());
        }
        (_, value) => {
            holder.insert(key, value.clone());
        }
    }
}

/// The attribute as a whole, or those of its values that are listed.
fn remove_all(
    holder: &mut Map<String, Value>,
    key: &str,
    site: &Site<'_>,
    value: Option<&Value>,
) -> Result<(), Refusal> {
    match (holder.get_mut(key), value) {
        (None, _) => site.nothing_to_remove(),
        (Some(Value::Array(list)), Some(value)) if !value.is_null() => {
            let unwanted = as_list(value);
            list.retain(|element| !unwanted.iter().any(|it| elements::contains(element, it)));
            Ok(())
        }
        (Some(_), _) => {
            holder.remove(key);
            Ok(())
        }
    }
}

fn remove_sub(holder: &mut Map<String, Value>, key: &str, site: &Site<'_>, sub: &str) -> Result<(), Refusal> {
    let removed = match holder.get_mut(key) {
        Some(Value::Object(map)) => remove(map, sub).is_some(),
        Some(Value::Array(list)) => {
            let maps = list.iter_mut().filter_map(Value::as_object_mut);
            maps.filter_map(|map| remove(map, sub)).count() > 0
        }
        _ => false,
    };
    if removed { Ok(()) } else { site.nothing_to_remove() }
}

/// A sub-attribute; of a list without a filter, the one of every element.
fn set_sub(
    holder: &mut Map<String, Value>,
    key: &str,
    site: &Site<'_>,
    sub: &str,
    value: &Value,
) -> Result<(), Refusal> {
    let sub = site.sub_definition().map_or(sub, |it| it.name);
    match holder.get_mut(key) {
        Some(Value::Object(map)) => {
            let sub = key_of(map, sub);
            map.insert(sub, value.clone());
        }
        Some(Value::Array(list)) => {
            let all = 0..list.len();
            elements::set_sub(list, all.collect(), sub, value);
        }
        None if is_multi(site) => {
            holder.insert(key.to_owned(), json!([{ sub: value }]));
        }
        None => {
            holder.insert(key.to_owned(), json!({ sub: value }));
        }
        Some(_) => return Err(site.invalid_path("it has no sub-attributes")),
    }
    Ok(())
}

/// What has become empty is unassigned (RFC 7644 s3.5.2.2).
fn drop_unassigned(holder: &mut Map<String, Value>, key: &str) {
    if let Some(Value::Object(map)) = holder.get_mut(key) {
        map.retain(|_, value| !value.is_null());
    }
    let empty = match holder.get(key) {
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Null) => true,
        _ => false,
    };
    if empty {
        holder.remove(key);
    }
}

fn is_multi(site: &Site<'_>) -> bool {
    site.definition.is_some_and(|it| it.multi)
}

/// A list, or one value as a list of one.
pub(super) fn as_list(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(elements) => elements.clone(),
        Value::Null => Vec::new(),
        single => vec![single.clone()],
    }
}
