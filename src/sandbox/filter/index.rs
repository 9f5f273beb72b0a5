//! Which resources a filter can match at all, where an index tells.

use std::collections::BTreeSet;

use scim_v2::filter::{AttrExp, AttrPath, CompValue, CompareOp, Filter};

use crate::sandbox::directory::{Collection, Place};
use crate::sandbox::schema::Kind;

/// The places of all resources that can match; none where only a scan tells. What is found must still be tested.
pub fn candidates(filter: &Filter, kind: Kind, collection: &Collection) -> Option<BTreeSet<Place>> {
    match filter {
        Filter::Attr(AttrExp::Comparison(path, CompareOp::Eq, CompValue::Str(value))) => {
            equal(path, value, kind, collection)
        }
        Filter::And(parts) => parts.iter().find_map(|part| candidates(part, kind, collection)),
        Filter::Or(parts) => {
            let mut all = BTreeSet::new();
            for part in parts {
                all.append(&mut candidates(part, kind, collection)?);
            }
            Some(all)
        }
        Filter::Attr(_) | Filter::ValuePath(_) | Filter::Not(_) => None,
    }
}

fn equal(path: &AttrPath, value: &str, kind: Kind, collection: &Collection) -> Option<BTreeSet<Place>> {
    let core = path.uri.as_ref().is_none_or(|uri| uri.eq_ignore_ascii_case(kind.urn()));
    if !core || path.sub_attr.is_some() {
        return None;
    }
    match kind.attribute(&path.name)?.name {
        "id" => Some(collection.place_of(value).into_iter().collect()),
        "userName" => Some(collection.with_user_name(value)),
        "externalId" => Some(collection.with_external_id(value)),
        _ => None,
    }
}
