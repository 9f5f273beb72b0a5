//! Operations on the elements of a multi-valued attribute.

use serde_json::{Map, Value};

use super::{Op, Site};
use crate::sandbox::error::{Refusal, ScimType};
use crate::sandbox::filter::{demanded, element_matches};
use crate::sandbox::path::{get, key_of, remove};

/// Appends what is not there yet. What has the `value` and the `type` of an element is that element (RFC 7643 s2.4): it takes over what is
/// new.
pub fn append(list: &mut Vec<Value>, elements: Vec<Value>) {
    let mut primary = Vec::new();
    for element in elements {
        let there = list.iter().position(|it| contains(it, &element));
        let same = || list.iter().position(|it| is_same(it, &element));
        let at = there.or_else(same).unwrap_or(list.len());
        if is_primary(&element) {
            primary.push(at);
        }
        match list.get_mut(at) {
            Some(before) if there.is_none() => merge(before, element),
            Some(_) => {}
            None => list.push(element),
        }
    }
    settle_primary(list, &primary);
}

fn is_same(a: &Value, b: &Value) -> bool {
    let (Value::Object(a), Value::Object(b)) = (a, b) else { return false };
    get(a, "value").is_some() && ["value", "type"].iter().all(|name| get(a, name) == get(b, name))
}

fn merge(before: &mut Value, element: Value) {
    match (before, element) {
        (Value::Object(before), Value::Object(element)) => {
            for (name, value) in element {
                before.insert(key_of(before, &name), value);
            }
        }
        (before, element) => *before = element,
    }
}

/// Whether an element has everything that `part` says.
pub fn contains(element: &Value, part: &Value) -> bool {
    match (element, part) {
        (Value::Object(element), Value::Object(part)) => {
            !part.is_empty() && part.iter().all(|(name, value)| get(element, name) == Some(value))
        }
        (element, part) => element == part,
    }
}

/// Sets a sub-attribute of the elements at these positions.
pub fn set_sub(list: &mut [Value], positions: Vec<usize>, sub: &str, value: &Value) {
    for position in &positions {
        if let Some(Value::Object(map)) = list.get_mut(*position) {
            let key = key_of(map, sub);
            map.insert(key, value.clone());
        }
    }
    settle_primary(list, &positions);
}

/// Applies an operation to the elements that the filter of the path selects.
pub fn apply_where(
    holder: &mut Map<String, Value>,
    key: &str,
    op: Op,
    site: &Site<'_>,
    value: Option<&Value>,
) -> Result<(), Refusal> {
    let mut list = match holder.get_mut(key) {
        None => Vec::new(),
        Some(Value::Array(list)) => std::mem::take(list),
        Some(_) => return Err(site.invalid_path("a filter selects values of a list")),
    };
    let changed = change_where(&mut list, op, site, value);
    holder.insert(key.to_owned(), list.into());
    changed
}

fn change_where(
    list: &mut Vec<Value>,
    op: Op,
    site: &Site<'_>,
    value: Option<&Value>,
) -> Result<(), Refusal> {
    let matched: Vec<usize> = (0..list.len()).filter(|at| selected(site, &list[*at])).collect();
    match (op, value) {
        (Op::Remove, _) if matched.is_empty() => site.nothing_to_remove(),
        (Op::Remove, _) => {
            remove_where(list, &matched, site.sub);
            Ok(())
        }
        (Op::Add, Some(value)) if matched.is_empty() => create(list, site, value),
        (Op::Replace, _) if matched.is_empty() => Err(site.no_target()),
        (Op::Add | Op::Replace, Some(value)) => change(list, matched, op, site, value),
        (Op::Add | Op::Replace, None) => Ok(()),
    }
}

fn selected(site: &Site<'_>, element: &Value) -> bool {
    site.filter.is_some_and(|filter| element_matches(filter, element, site.definition))
}

fn remove_where(list: &mut Vec<Value>, matched: &[usize], sub: Option<&str>) {
    let mut at = 0;
    list.retain_mut(|element| {
        let hit = matched.binary_search(&at).is_ok();
        at += 1;
        match (hit, sub, element) {
            (false, _, _) => true,
            (true, Some(sub), Value::Object(map)) => {
                remove(map, sub);
                !map.is_empty()
            }
            (true, _, _) => false,
        }
    });
}

fn change(
    list: &mut [Value],
    matched: Vec<usize>,
    op: Op,
    site: &Site<'_>,
    value: &Value,
) -> Result<(), Refusal> {
    if site.sub.is_some() {
        let sub = site.sub_definition().map(|it| it.name).or(site.sub).unwrap_or_default();
        set_sub(list, matched, sub, value);
        return Ok(());
    }
    let value = single(site, value)?;
    for at in &matched {
        match op {
            Op::Add => merge(&mut list[*at], value.clone()),
            Op::Replace | Op::Remove => list[*at] = value.clone(),
        }
    }
    settle_primary(list, &matched);
    Ok(())
}

/// Adds the element that the filter describes: `emails[type eq "work"].value` creates the work address.
fn create(list: &mut Vec<Value>, site: &Site<'_>, value: &Value) -> Result<(), Refusal> {
    let demanded = site.filter.and_then(demanded).ok_or_else(|| site.no_target())?;
    let mut element: Map<String, Value> = demanded.into_iter().collect();
    match (site.sub, single(site, value)?) {
        (Some(sub), value) => {
            element.insert(sub.to_owned(), value.clone());
        }
        (None, Value::Object(value)) => element.extend(value.clone()),
        (None, _) => return Err(site.no_target()),
    }
    append(list, vec![element.into()]);
    Ok(())
}

/// The value for selected elements: an object, also as a list of one.
fn single<'v>(site: &Site<'_>, value: &'v Value) -> Result<&'v Value, Refusal> {
    match value {
        Value::Array(values) if site.sub.is_none() => match values.as_slice() {
            [value] => Ok(value),
            _ => Err(Refusal::of(ScimType::InvalidValue, format!("{}: one value is expected", site.name))),
        },
        value => Ok(value),
    }
}

/// If one of the elements just written is primary, all others are not; of several the last one is.
fn settle_primary(list: &mut [Value], written: &[usize]) {
    let Some(winner) = written.iter().copied().filter(|at| list.get(*at).is_some_and(is_primary)).max()
    else {
        return;
    };
    for (at, element) in list.iter_mut().enumerate() {
        if at != winner && is_primary(element) {
            set_primary(element, false);
        }
    }
}

fn is_primary(element: &Value) -> bool {
    element.as_object().and_then(|map| get(map, "primary")) == Some(&Value::Bool(true))
}

fn set_primary(element: &mut Value, primary: bool) {
    if let Value::Object(map) = element {
        map.insert(key_of(map, "primary"), primary.into());
    }
}
