//! A resource as filters and sorting see it: with what is computed, but only as far as it is asked for.

use std::borrow::Cow;

use scim_v2::filter::{AttrExp, AttrPath, CompValue, CompareOp, ValFilter};
use serde_json::Value;

use super::{compare, element_matches};
use crate::sandbox::directory::Resource;
use crate::sandbox::path::{Located, Owner, get, locate};
use crate::sandbox::schema::Kind;
use crate::sandbox::view::View;

/// A resource and the view that shows it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The resource.
    pub resource: &'a Resource,
    /// What shows it.
    pub view: View<'a>,
}

impl<'a> Subject<'a> {
    /// Tests an attribute expression.
    pub(super) fn test(&self, expression: &AttrExp) -> bool {
        let path = match expression {
            AttrExp::Present(path) | AttrExp::Comparison(path, _, _) => path,
        };
        let located = self.locate(path);
        if let Some(id) = equal_member_id(expression, located.sub.as_deref())
            && self.is_members(&located)
        {
            return self.resource.members.contains_key(id);
        }
        let value = self.value(&located);
        compare::test(expression, value.as_deref(), located.sub.as_deref(), located.definition)
    }

    /// Tests whether an element of a multi-valued attribute passes the filter in brackets.
    pub(super) fn test_elements(&self, path: &AttrPath, filter: &ValFilter) -> bool {
        let located = self.locate(path);
        if let ValFilter::Attr(expression @ AttrExp::Comparison(path, _, _)) = filter
            && self.is_members(&located)
            && let Some(id) = equal_member_id(expression, Some(&path.name))
        {
            return self.resource.members.contains_key(id);
        }
        match self.value(&located).as_deref() {
            None => false,
            Some(Value::Array(elements)) => {
                elements.iter().any(|element| element_matches(filter, element, located.definition))
            }
            Some(single) => element_matches(filter, single, located.definition),
        }
    }

    /// The value at a path, without its sub-attribute.
    pub fn value(&self, located: &Located) -> Option<Cow<'a, Value>> {
        let Some(name) = located.name.as_deref() else {
            return match &located.owner {
                Owner::Core => None,
                Owner::Extension(urn) => self.resource.body.get(urn).map(Cow::Borrowed),
            };
        };
        if located.owner == Owner::Core
            && let Some(computed) = self.view.computed(self.resource, name)
        {
            return computed.map(Cow::Owned);
        }
        let holder = match &located.owner {
            Owner::Core => &self.resource.body,
            Owner::Extension(urn) => self.resource.body.get(urn)?.as_object()?,
        };
        get(holder, name).map(Cow::Borrowed)
    }

    /// Resolves a path against this resource.
    pub fn locate(&self, path: &AttrPath) -> Located {
        locate(self.resource.kind, &self.resource.body, path)
    }

    fn is_members(&self, located: &Located) -> bool {
        self.resource.kind == Kind::Group
            && located.owner == Owner::Core
            && located.name.as_deref() == Some("members")
    }
}

/// The id of `value eq "id"`; groups can be large, and this is what is asked of them.
fn equal_member_id<'e>(expression: &'e AttrExp, sub: Option<&str>) -> Option<&'e str> {
    match expression {
        AttrExp::Comparison(_, CompareOp::Eq, CompValue::Str(id))
            if sub.is_none_or(|sub| sub.eq_ignore_ascii_case("value")) =>
        {
            Some(id)
        }
        _ => None,
    }
}
