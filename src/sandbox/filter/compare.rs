//! The operators of RFC 7644 table 3 on JSON values.

use std::cmp::Ordering;

use jiff::Timestamp;
use scim_v2::filter::{AttrExp, CompValue, CompareOp};
use serde_json::Value;

use super::{is_exact, is_instant};
use crate::sandbox::path;
use crate::sandbox::schema::{Attribute, find};

/// Tests an attribute's value, or its sub-attribute `sub`: of a list it is enough that one element passes; `ne` is the opposite of `eq`, so that an
/// unassigned attribute is unequal to every value.
pub fn test(
    expression: &AttrExp,
    value: Option<&Value>,
    sub: Option<&str>,
    definition: Option<&'static Attribute>,
) -> bool {
    let Some(value) = value else {
        return of_unassigned(expression);
    };
    match expression {
        AttrExp::Present(_) => any(value, sub, definition, &|it, _| is_present(it)),
        AttrExp::Comparison(_, CompareOp::Eq, CompValue::Null) => {
            !any(value, sub, definition, &|it, _| is_present(it))
        }
        AttrExp::Comparison(_, CompareOp::Ne, CompValue::Null) => {
            any(value, sub, definition, &|it, _| is_present(it))
        }
        AttrExp::Comparison(_, CompareOp::Ne, operand) => {
            !any(value, sub, definition, &|it, known| compare(it, &CompareOp::Eq, operand, known))
        }
        AttrExp::Comparison(_, op, operand) => {
            any(value, sub, definition, &|it, known| compare(it, op, operand, known))
        }
    }
}

fn of_unassigned(expression: &AttrExp) -> bool {
    match expression {
        AttrExp::Present(_) => false,
        AttrExp::Comparison(_, CompareOp::Eq, operand) => matches!(operand, CompValue::Null),
        AttrExp::Comparison(_, CompareOp::Ne, operand) => !matches!(operand, CompValue::Null),
        AttrExp::Comparison(..) => false,
    }
}

type Predicate<'a> = &'a dyn Fn(&Value, Option<&'static Attribute>) -> bool;

/// Whether any value below passes: the elements of a list, the sub-attribute of a complex one (`value` where none is named).
fn any(
    value: &Value,
    sub: Option<&str>,
    definition: Option<&'static Attribute>,
    passes: Predicate<'_>,
) -> bool {
    match value {
        Value::Array(elements) => elements.iter().any(|element| any(element, sub, definition, passes)),
        Value::Object(map) => {
            let name = sub.unwrap_or("value");
            let known = definition.and_then(|it| find(it.sub, name));
            match path::get(map, name) {
                Some(inner) => any(inner, None, known, passes),
                // a complex attribute without `value` can only be present
                None => sub.is_none() && passes(value, definition),
            }
        }
        simple => sub.is_none() && passes(simple, definition),
    }
}

fn is_present(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(elements) => !elements.is_empty(),
        Value::Object(map) => map.values().any(is_present),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

fn compare(
    value: &Value,
    op: &CompareOp,
    operand: &CompValue,
    definition: Option<&'static Attribute>,
) -> bool {
    match (value, operand) {
        (Value::String(value), CompValue::Str(operand)) => texts(value, op, operand, definition),
        (Value::Number(value), CompValue::Number(operand)) => {
            let (value, operand) = (value.as_f64(), operand.as_f64());
            value.zip(operand).and_then(|(a, b)| a.partial_cmp(&b)).is_some_and(|order| ordered(op, order))
        }
        (Value::Bool(value), CompValue::True) => matches!(op, CompareOp::Eq) && *value,
        (Value::Bool(value), CompValue::False) => matches!(op, CompareOp::Eq) && !value,
        _ => false,
    }
}

fn texts(value: &str, op: &CompareOp, operand: &str, definition: Option<&'static Attribute>) -> bool {
    if is_instant(definition)
        && let (Ok(value), Ok(operand)) = (value.parse::<Timestamp>(), operand.parse::<Timestamp>())
    {
        return ordered(op, value.cmp(&operand));
    }
    if is_exact(definition) {
        return strings(value, op, operand);
    }
    strings(&value.to_lowercase(), op, &operand.to_lowercase())
}

fn strings(value: &str, op: &CompareOp, operand: &str) -> bool {
    match op {
        CompareOp::Co => value.contains(operand),
        CompareOp::Sw => value.starts_with(operand),
        CompareOp::Ew => value.ends_with(operand),
        CompareOp::Eq | CompareOp::Ne | CompareOp::Gt | CompareOp::Lt | CompareOp::Ge | CompareOp::Le => {
            ordered(op, value.cmp(operand))
        }
    }
}

fn ordered(op: &CompareOp, order: Ordering) -> bool {
    match op {
        CompareOp::Eq => order.is_eq(),
        CompareOp::Ne => order.is_ne(),
        CompareOp::Gt => order.is_gt(),
        CompareOp::Lt => order.is_lt(),
        CompareOp::Ge => order.is_ge(),
        CompareOp::Le => order.is_le(),
        CompareOp::Co | CompareOp::Sw | CompareOp::Ew => false,
    }
}
