//! Which comparisons can be made at all: `gt`, `ge`, `lt` and `le` not of booleans and binary data (RFC 7644 table 3).

use scim_v2::filter::{AttrExp, AttrPath, CompValue, CompareOp, Filter, ValFilter};
use serde_json::Map;

use crate::sandbox::path::locate;
use crate::sandbox::schema::{Attribute, Kind, Type, find};

/// Whether a filter asks for an order that there is not, given the resource types it is for.
pub fn asks_too_much(filter: &Filter, kinds: &[Kind]) -> bool {
    match filter {
        Filter::Attr(expression) => {
            asks_order(expression, |path| kinds.iter().any(|kind| is_unordered(leaf(*kind, path))))
        }
        Filter::ValuePath(path) => kinds.iter().any(|kind| {
            let list = locate(*kind, &Map::new(), &path.attr).definition;
            inner_asks_too_much(&path.filter, list)
        }),
        Filter::Not(inner) => asks_too_much(inner, kinds),
        Filter::And(parts) | Filter::Or(parts) => parts.iter().any(|part| asks_too_much(part, kinds)),
    }
}

fn inner_asks_too_much(filter: &ValFilter, list: Option<&'static Attribute>) -> bool {
    match filter {
        ValFilter::Attr(expression) => {
            asks_order(expression, |path| is_unordered(list.and_then(|it| find(it.sub, &path.name))))
        }
        ValFilter::Not(inner) => inner_asks_too_much(inner, list),
        ValFilter::And(parts) | ValFilter::Or(parts) => {
            parts.iter().any(|part| inner_asks_too_much(part, list))
        }
    }
}

/// Whether it compares by order with a boolean, or an attribute that `unordered` knows to have none.
fn asks_order(expression: &AttrExp, unordered: impl Fn(&AttrPath) -> bool) -> bool {
    match expression {
        AttrExp::Present(_) => false,
        AttrExp::Comparison(path, op, value) => {
            let order = matches!(op, CompareOp::Gt | CompareOp::Ge | CompareOp::Lt | CompareOp::Le);
            order && (matches!(value, CompValue::True | CompValue::False) || unordered(path))
        }
    }
}

/// What is compared in the end: the sub-attribute, of a complex attribute its `value`.
fn leaf(kind: Kind, path: &AttrPath) -> Option<&'static Attribute> {
    let located = locate(kind, &Map::new(), path);
    let attribute = located.definition?;
    match attribute.data_type {
        Type::Complex => find(attribute.sub, located.sub.as_deref().unwrap_or("value")),
        _ => Some(attribute),
    }
}

fn is_unordered(attribute: Option<&'static Attribute>) -> bool {
    attribute.is_some_and(|it| matches!(it.data_type, Type::Boolean | Type::Binary))
}
