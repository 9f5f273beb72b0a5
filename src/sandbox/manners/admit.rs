//! What the provider does not let be written, before anything is looked at.

use scim_v2::filter::PatchPath;
use serde_json::{Map, Value};

use super::Manners;
use crate::sandbox::error::{Refusal, ScimType};
use crate::sandbox::members::Members;
use crate::sandbox::patch::{Op, Operation};
use crate::sandbox::path::{get, remove};
use crate::sandbox::provider::Write;
use crate::sandbox::schema::Kind;
use crate::target::profile::{Attribute, Removal, Update};

impl Manners {
    /// Whether a write is let through. `before` are the members there are.
    ///
    /// # Errors
    /// 405 or 501 where there is no such method; 400 for what it may not say.
    pub fn admit(&self, write: &Write, before: &Members) -> Result<(), Refusal> {
        let (kind, _) = write.target();
        self.check_method(kind, write)?;
        match write {
            Write::Create(Kind::User, _) | Write::Replace(Kind::User, ..) => Ok(()),
            Write::Create(Kind::Group, body) | Write::Replace(Kind::Group, _, body) => {
                self.check_number(changed(body, before))
            }
            Write::Patch(kind, _, operations) => self.check_patch(*kind, operations),
            Write::Delete(..) => Ok(()),
        }
    }

    fn check_method(&self, kind: Kind, write: &Write) -> Result<(), Refusal> {
        let said = self.of_type(kind);
        let there_is_none = |status: u16, method: &str| {
            Err(Refusal::new(status, format!("{method} of a {} is not supported", kind.name())))
        };
        match write {
            Write::Create(..) if !said.create => there_is_none(405, "POST"),
            Write::Replace(..) if !said.put => there_is_none(405, "PUT"),
            Write::Patch(..) if said.update == Update::Put => there_is_none(501, "PATCH"),
            Write::Delete(..) if !said.delete => there_is_none(405, "DELETE"),
            Write::Create(..) | Write::Replace(..) | Write::Patch(..) | Write::Delete(..) => Ok(()),
        }
    }

    fn check_patch(&self, kind: Kind, operations: &[Operation]) -> Result<(), Refusal> {
        if self.owns_external_id(kind)
            && operations.iter().any(|it| names(it, "externalId") || says(it, "externalId"))
        {
            return Err(Refusal::of(ScimType::Mutability, "externalId is read-only"));
        }
        if kind == Kind::User {
            return Ok(());
        }
        let mut changed = 0;
        for operation in operations {
            changed += self.members_of(operation)?;
        }
        self.check_number(changed)
    }

    /// How many members an operation names.
    fn members_of(&self, operation: &Operation) -> Result<usize, Refusal> {
        let said = &self.profile.members;
        let refused = |why: &str| Err(Refusal::of(ScimType::InvalidValue, format!("members: {why}")));
        let is_about = names(operation, "members") || says(operation, "members");
        let listed = operation.value.as_ref().map_or(0, |value| match (value, &operation.path) {
            (Value::Null, _) => 0,
            (Value::Array(list), _) => list.len(),
            (Value::Object(map), None) => get(map, "members").and_then(Value::as_array).map_or(1, Vec::len),
            _ => 1,
        });
        let by_filter = matches!(operation.path, Some(PatchPath::Value(_)));
        match operation.op {
            _ if !is_about => Ok(0),
            Op::Replace if !by_filter && said.replace == Some(false) => {
                refused("the whole list can't be replaced")
            }
            Op::Remove if !by_filter && listed == 0 && said.remove_all == Some(false) => {
                refused("they can't be removed all at once")
            }
            Op::Remove if self.given && by_filter && said.removal == Removal::Values => {
                refused("they are removed by a list of values")
            }
            Op::Remove if self.given && !by_filter && listed > 0 && said.removal == Removal::Filter => {
                refused("one is removed by members[value eq \"…\"]")
            }
            Op::Remove if by_filter => Ok(1),
            Op::Add | Op::Replace | Op::Remove => Ok(listed),
        }
    }

    fn check_number(&self, members: usize) -> Result<(), Refusal> {
        match self.profile.limits.members_per_request {
            Some(most) if members > most.get() => Err(Refusal::of(
                ScimType::InvalidValue,
                format!("{members} members in a request, and {most} are allowed"),
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a type's externalId is the provider's own: nothing is found by it.
    pub fn owns_external_id(&self, kind: Kind) -> bool {
        let matching = self.of_type(kind).matching.as_ref();
        matching.is_some_and(|attributes| !attributes.contains(&Attribute::ExternalId))
    }

    /// Puts the provider's own externalId in place of a client's, which counts for nothing.
    pub fn overrule(&self, kind: Kind, body: &mut Map<String, Value>, own: Option<&str>) {
        if self.owns_external_id(kind) {
            remove(body, "externalId");
            body.extend(own.map(|own| ("externalId".to_owned(), own.into())));
        }
    }
}

/// How many members come or go when these take the place of those before.
fn changed(body: &Map<String, Value>, before: &Members) -> usize {
    let listed = get(body, "members").and_then(Value::as_array).into_iter().flatten();
    let (kept, new): (Vec<&Value>, Vec<&Value>) = listed.partition(|member| {
        let value = member.as_object().and_then(|it| get(it, "value")).and_then(Value::as_str);
        value.is_some_and(|id| before.contains_key(id))
    });
    new.len() + before.len().saturating_sub(kept.len())
}

fn names(operation: &Operation, attribute: &str) -> bool {
    let name = match &operation.path {
        Some(PatchPath::Attr(path)) => &path.name,
        Some(PatchPath::Value(path)) => &path.attr.name,
        None => return false,
    };
    name.eq_ignore_ascii_case(attribute)
}

/// Whether an operation without a path carries the attribute.
fn says(operation: &Operation, attribute: &str) -> bool {
    let value = operation.value.as_ref().filter(|_| operation.path.is_none());
    value.and_then(Value::as_object).is_some_and(|map| get(map, attribute).is_some())
}
