//! Operations on the members of a group, which cost what they change and not what there is.

use std::collections::BTreeMap;

use scim_v2::filter::{AttrExp, CompValue, CompareOp, ValFilter};
use serde_json::Value;

use super::attribute::as_list;
use super::{Op, Site};
use crate::sandbox::error::{Refusal, ScimType};
use crate::sandbox::filter::element_matches;
use crate::sandbox::members::{Details, Edits, Id, Members};
use crate::sandbox::schema::Mutability;

/// Applies an operation to the members. `value` is there unless something is removed.
pub fn apply(
    edits: &mut Edits,
    before: &Members,
    op: Op,
    site: &Site<'_>,
    value: Option<&Value>,
) -> Result<(), Refusal> {
    if let Some(filter) = site.filter {
        return apply_where(edits, before, op, site, (filter, value));
    }
    if site.sub.is_some() {
        return Err(site.invalid_path("a sub-attribute of members needs a filter"));
    }
    match (op, value) {
        (Op::Add, Some(value)) => add(edits, before, value),
        (Op::Replace, Some(value)) => {
            *edits = Edits::replacing(as_list(value))?;
            Ok(())
        }
        (Op::Remove, Some(value)) if !value.is_null() => remove_listed(edits, before, site, value),
        (Op::Remove, _) => {
            edits.clear();
            Ok(())
        }
        (Op::Add | Op::Replace, None) => Ok(()),
    }
}

fn add(edits: &mut Edits, before: &Members, value: &Value) -> Result<(), Refusal> {
    for element in as_list(value) {
        let (id, details) = Details::of_element(element)?;
        edits.add(before, id, details);
    }
    Ok(())
}

/// `remove` with a list of members, as Microsoft Entra sends it: only these go.
fn remove_listed(edits: &mut Edits, before: &Members, site: &Site<'_>, value: &Value) -> Result<(), Refusal> {
    for element in as_list(value) {
        let (id, _) = Details::of_element(element)?;
        if edits.get(before, &id).is_none() {
            site.nothing_to_remove()?;
        }
        edits.remove(&id);
    }
    Ok(())
}

fn apply_where(
    edits: &mut Edits,
    before: &Members,
    op: Op,
    site: &Site<'_>,
    (filter, value): (&ValFilter, Option<&Value>),
) -> Result<(), Refusal> {
    let matched = matched(edits, before, site, filter);
    match (op, value, matched.is_empty()) {
        (Op::Remove, _, true) => site.nothing_to_remove(),
        (Op::Add, Some(value), true) => create(edits, before, site, (filter, value)),
        (Op::Replace, _, true) => Err(site.no_target()),
        (Op::Remove, _, false) => remove_where(edits, site, matched),
        (Op::Add | Op::Replace, Some(value), false) => change(edits, op, site, (matched, value)),
        (Op::Add | Op::Replace, None, _) => Ok(()),
    }
}

/// The members that the filter selects: `value eq` by index, anything else by looking at all.
fn matched(edits: &Edits, before: &Members, site: &Site<'_>, filter: &ValFilter) -> BTreeMap<Id, Details> {
    if let Some(id) = equal_id(filter) {
        return edits.get(before, id).map(|it| (id.into(), it.clone())).into_iter().collect();
    }
    let all = edits.resulting(before);
    let hits = all.filter(|(id, details)| {
        element_matches(filter, &Value::Object(details.element(id)), site.definition)
    });
    hits.map(|(id, details)| (id.clone(), details.clone())).collect()
}

fn equal_id(filter: &ValFilter) -> Option<&str> {
    match filter {
        ValFilter::Attr(AttrExp::Comparison(path, CompareOp::Eq, CompValue::Str(id)))
            if path.name.eq_ignore_ascii_case("value") =>
        {
            Some(id)
        }
        _ => None,
    }
}

fn remove_where(edits: &mut Edits, site: &Site<'_>, matched: BTreeMap<Id, Details>) -> Result<(), Refusal> {
    for (id, mut details) in matched {
        match site.sub {
            None => edits.remove(&id),
            Some(sub) => {
                check_sub(site, &details, Op::Remove)?;
                details.unset(sub);
                edits.changes.insert(id, Some(details));
            }
        }
    }
    Ok(())
}

fn change(
    edits: &mut Edits,
    op: Op,
    site: &Site<'_>,
    (matched, value): (BTreeMap<Id, Details>, &Value),
) -> Result<(), Refusal> {
    for (id, mut details) in matched {
        match site.sub {
            Some(sub) => {
                check_sub(site, &details, op)?;
                details.set(sub, value.clone());
            }
            None => details = same_member(&id, value)?,
        }
        edits.changes.insert(id, Some(details));
    }
    Ok(())
}

/// A member's `value` is immutable: a replacement must be about the same member.
fn same_member(id: &Id, value: &Value) -> Result<Details, Refusal> {
    let mut element = value.clone();
    if let Value::Object(map) = &mut element
        && crate::sandbox::path::get(map, "value").is_none()
    {
        map.insert("value".into(), (**id).into());
    }
    let (other, details) = Details::of_element(element)?;
    if other == *id { Ok(details) } else { Err(immutable("value")) }
}

fn create(
    edits: &mut Edits,
    before: &Members,
    site: &Site<'_>,
    (filter, value): (&ValFilter, &Value),
) -> Result<(), Refusal> {
    let id: Id = equal_id(filter).ok_or_else(|| site.no_target())?.into();
    let details = match site.sub {
        None => same_member(&id, value)?,
        Some(sub) => {
            let mut details = Details::default();
            details.set(sub, value.clone());
            details
        }
    };
    edits.add(before, id, details);
    Ok(())
}

/// An immutable sub-attribute can be added where it has no value yet (RFC 7644 s3.5.2). Every member has a `value`.
fn check_sub(site: &Site<'_>, details: &Details, op: Op) -> Result<(), Refusal> {
    match site.sub_definition() {
        Some(sub) if sub.mutability == Mutability::Immutable => {
            let first = op == Op::Add && sub.name != "value" && !details.has(sub.name);
            if first { Ok(()) } else { Err(immutable(sub.name)) }
        }
        _ => Ok(()),
    }
}

fn immutable(sub: &str) -> Refusal {
    Refusal::of(ScimType::Mutability, format!("members.{sub} is immutable"))
}
