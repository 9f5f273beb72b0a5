//! Filters (RFC 7644 s3.4.2.2) over resources as they are stored.

mod compare;
mod index;
mod order;
mod subject;

use scim_v2::filter::{AttrExp, CompValue, CompareOp, Filter, PatchPath, ValFilter};
use serde_json::Value;

use super::error::{Refusal, ScimType};
use super::schema::{Attribute, Kind, Type, find};

pub use index::candidates;
pub use subject::Subject;

/// Reads a filter.
///
/// # Errors
/// `invalidFilter`, also where the order of values is asked that have none.
pub fn parse(text: &str, kinds: &[Kind]) -> Result<Filter, Refusal> {
    let invalid = |error: &dyn std::fmt::Display| Refusal::of(ScimType::InvalidFilter, error.to_string());
    let filter: Filter = spaced(text).parse().map_err(|error| invalid(&error))?;
    if order::asks_too_much(&filter, kinds) {
        return Err(invalid(&"truth values and binary data have no order"));
    }
    Ok(filter)
}

/// Reads the path of a PATCH operation.
///
/// # Errors
/// `invalidPath`.
pub fn parse_path(text: &str) -> Result<PatchPath, Refusal> {
    spaced(text).parse().map_err(|error| Refusal::of(ScimType::InvalidPath, format!("path {text}: {error}")))
}

/// Whether a resource fulfils a filter.
pub fn matches(filter: &Filter, subject: &Subject<'_>) -> bool {
    match filter {
        Filter::Attr(expression) => subject.test(expression),
        Filter::ValuePath(path) => subject.test_elements(&path.attr, &path.filter),
        Filter::Not(inner) => !matches(inner, subject),
        Filter::And(parts) => parts.iter().all(|part| matches(part, subject)),
        Filter::Or(parts) => parts.iter().any(|part| matches(part, subject)),
    }
}

/// Whether one element of a multi-valued attribute fulfils the filter in brackets.
pub fn element_matches(filter: &ValFilter, element: &Value, definition: Option<&'static Attribute>) -> bool {
    match filter {
        ValFilter::Attr(expression) => element_test(expression, element, definition),
        ValFilter::Not(inner) => !element_matches(inner, element, definition),
        ValFilter::And(parts) => parts.iter().all(|part| element_matches(part, element, definition)),
        ValFilter::Or(parts) => parts.iter().any(|part| element_matches(part, element, definition)),
    }
}

fn element_test(expression: &AttrExp, element: &Value, definition: Option<&'static Attribute>) -> bool {
    let name = match expression {
        AttrExp::Present(path) | AttrExp::Comparison(path, _, _) => path.name.as_str(),
    };
    let sub = definition.and_then(|it| find(it.sub, name));
    match element {
        Value::Object(map) => compare::test(expression, super::path::get(map, name), None, sub),
        // a simple value is its own `value`
        simple => compare::test(expression, Some(simple), None, definition),
    }
}

/// The values that a filter made of `eq` and `and` demands of an element: what `add` creates where nothing matches.
pub fn demanded(filter: &ValFilter) -> Option<Vec<(String, Value)>> {
    match filter {
        ValFilter::Attr(AttrExp::Comparison(path, CompareOp::Eq, value)) => {
            Some(vec![(path.name.clone(), json_of(value))])
        }
        ValFilter::And(parts) => {
            let parts: Option<Vec<_>> = parts.iter().map(demanded).collect();
            Some(parts?.into_iter().flatten().collect())
        }
        ValFilter::Attr(_) | ValFilter::Not(_) | ValFilter::Or(_) => None,
    }
}

fn json_of(value: &CompValue) -> Value {
    match value {
        CompValue::True => Value::Bool(true),
        CompValue::False => Value::Bool(false),
        CompValue::Null => Value::Null,
        CompValue::Number(number) => Value::Number(number.clone()),
        CompValue::Str(text) => text.as_str().into(),
    }
}

/// Puts the space behind `not` that the grammar makes optional and the parser wants.
fn spaced(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 4);
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        if c == '(' && !quoted && ends_with_not(&out) {
            out.push(' ');
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        out.push(c);
    }
    out
}

fn ends_with_not(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some(start) = bytes.len().checked_sub(3) else { return false };
    let word = bytes[start..].eq_ignore_ascii_case(b"not");
    word && (start == 0 || matches!(bytes[start - 1], b' ' | b'(' | b'['))
}

/// Whether comparison minds the case; what no schema knows does not.
fn is_exact(definition: Option<&'static Attribute>) -> bool {
    definition.is_some_and(|it| it.case_exact)
}

fn is_instant(definition: Option<&'static Attribute>) -> bool {
    definition.is_some_and(|it| it.data_type == Type::DateTime)
}

#[cfg(test)]
mod tests;
