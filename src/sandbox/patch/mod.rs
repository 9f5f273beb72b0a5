//! PATCH (RFC 7644 s3.5.2): all operations on a draft, which is stored only if all succeed.

mod attribute;
mod elements;
mod members;
mod request;

use scim_v2::filter::{AttrPath, PatchPath, ValFilter};
use serde_json::{Map, Value, json};

pub use request::{Op, Operation, parse};

use super::directory::Resource;
use super::error::{Refusal, ScimType};
use super::filter::parse_path;
use super::members::{Edits, Members};
use super::path::{Located, Owner, key_of, locate};
use super::schema::{Attribute, Kind, Mutability, Type, find};

/// The resource as the operations leave it: its attributes and the changes of its members. The attributes are not checked against the
/// schema yet.
///
/// # Errors
/// `noTarget`, `invalidPath`, `invalidValue`, `mutability`.
pub fn apply(
    resource: &Resource,
    operations: &[Operation],
    refuse_missing_removals: bool,
) -> Result<(Map<String, Value>, Edits), Refusal> {
    let mut draft = Draft {
        kind: resource.kind,
        body: resource.body.clone(),
        before: &resource.members,
        edits: Edits::default(),
        refuse_missing_removals,
    };
    for operation in operations {
        draft.apply(operation)?;
    }
    Ok((draft.body, draft.edits))
}

/// The resource while the operations are applied.
struct Draft<'a> {
    kind: Kind,
    body: Map<String, Value>,
    before: &'a Members,
    edits: Edits,
    refuse_missing_removals: bool,
}

/// One attribute as an operation addresses it.
struct Site<'a> {
    name: &'a str,
    definition: Option<&'static Attribute>,
    filter: Option<&'a ValFilter>,
    sub: Option<&'a str>,
    refuse_missing_removals: bool,
}

impl Site<'_> {
    fn sub_definition(&self) -> Option<&'static Attribute> {
        find(self.definition?.sub, self.sub?)
    }

    /// Nothing to remove: success (RFC 7644 s3.5.2.2 for members), unless the provider is a strict one.
    fn nothing_to_remove(&self) -> Result<(), Refusal> {
        if self.refuse_missing_removals { Err(self.no_target()) } else { Ok(()) }
    }

    /// Filters are for lists, sub-attributes for complex attributes.
    ///
    /// # Errors
    /// `invalidPath`.
    fn check_shape(&self) -> Result<(), Refusal> {
        match self.definition {
            Some(it) if self.filter.is_some() && !it.multi => {
                Err(self.invalid_path("a filter selects values of a list"))
            }
            Some(it) if self.sub.is_some() && it.data_type != Type::Complex => {
                Err(self.invalid_path("it has no sub-attributes"))
            }
            _ => Ok(()),
        }
    }

    fn no_target(&self) -> Refusal {
        Refusal::of(ScimType::NoTarget, format!("nothing of {} matches the path", self.name))
    }

    fn invalid_path(&self, why: &str) -> Refusal {
        Refusal::of(ScimType::InvalidPath, format!("{}: {why}", self.name))
    }
}

impl Draft<'_> {
    fn apply(&mut self, operation: &Operation) -> Result<(), Refusal> {
        match (&operation.path, operation.op) {
            (Some(path), op) => self.apply_at(op, path, operation.value.as_ref()),
            (None, Op::Remove) => Err(Refusal::of(ScimType::NoTarget, "remove needs a path")),
            (None, op) => self.apply_to_resource(op, operation.value.as_ref()),
        }
    }

    /// Without a path the value holds attributes of the resource, and extensions under their URN.
    fn apply_to_resource(&mut self, op: Op, value: Option<&Value>) -> Result<(), Refusal> {
        let Some(Value::Object(attributes)) = value else {
            return Err(Refusal::of(ScimType::InvalidValue, "without a path the value must be an object"));
        };
        for (name, value) in attributes {
            let path = parse_path(name).ok();
            if value.is_object() && self.is_extension(name, path.as_ref()) {
                self.apply_to_extension(op, &self.extension_key(name), Some(value))?;
            } else {
                let path = path.unwrap_or_else(|| PatchPath::Attr(AttrPath::with_name(name)));
                self.apply_at(op, &path, Some(value))?;
            }
        }
        Ok(())
    }

    /// Whether a name is a URN as a whole, and not that of the core schema or of an attribute of a known schema.
    fn is_extension(&self, name: &str, path: Option<&PatchPath>) -> bool {
        let Some(PatchPath::Attr(path)) = path else { return name.contains(':') };
        let located = locate(self.kind, &self.body, path);
        match (&located.owner, &located.name) {
            (Owner::Core, _) => false,
            (Owner::Extension(_), None) => true,
            (Owner::Extension(urn), Some(_)) => {
                self.kind.extension(urn).is_none() && !self.body.contains_key(urn)
            }
        }
    }

    fn apply_at(&mut self, op: Op, path: &PatchPath, value: Option<&Value>) -> Result<(), Refusal> {
        let (attribute, filter, sub) = match path {
            PatchPath::Attr(attribute) => (attribute, None, attribute.sub_attr.as_deref()),
            PatchPath::Value(it) => (&it.attr, Some(&it.filter), it.sub_attr.as_deref()),
        };
        let located = locate(self.kind, &self.body, attribute);
        let Some(name) = located.name.as_deref() else {
            return self.apply_to_owner(op, &located, value);
        };
        let site = Site {
            name,
            definition: located.definition,
            filter,
            sub,
            refuse_missing_removals: self.refuse_missing_removals,
        };
        check_mutability(op, &site)?;
        if op != Op::Remove && value.is_none() {
            return Err(Refusal::of(ScimType::InvalidValue, format!("{name}: the operation has no value")));
        }
        match &located.owner {
            Owner::Core if self.kind == Kind::Group && name == "members" => {
                members::apply(&mut self.edits, self.before, op, &site, value)
            }
            Owner::Core => attribute::apply(&mut self.body, op, &site, value),
            Owner::Extension(urn) => self.apply_in_extension(urn, op, &site, value),
        }
    }

    /// A path that is nothing but a URN.
    fn apply_to_owner(&mut self, op: Op, located: &Located, value: Option<&Value>) -> Result<(), Refusal> {
        match &located.owner {
            Owner::Core if op == Op::Remove => {
                Err(Refusal::of(ScimType::InvalidPath, "the path names no attribute"))
            }
            Owner::Core => self.apply_to_resource(op, value),
            Owner::Extension(urn) => self.apply_to_extension(op, urn, value),
        }
    }

    fn apply_to_extension(&mut self, op: Op, urn: &str, value: Option<&Value>) -> Result<(), Refusal> {
        match (op, value) {
            (Op::Remove, _) => {
                self.drop_extension(urn);
                Ok(())
            }
            (Op::Add | Op::Replace, Some(Value::Object(attributes))) => {
                for (name, value) in attributes {
                    let path = AttrPath { uri: Some(urn.to_owned()), name: name.clone(), sub_attr: None };
                    self.apply_at(op, &PatchPath::Attr(path), Some(value))?;
                }
                Ok(())
            }
            (Op::Add | Op::Replace, _) => {
                Err(Refusal::of(ScimType::InvalidValue, format!("{urn} must be an object")))
            }
        }
    }

    fn apply_in_extension(
        &mut self,
        urn: &str,
        op: Op,
        site: &Site<'_>,
        value: Option<&Value>,
    ) -> Result<(), Refusal> {
        if op == Op::Remove && !self.body.contains_key(urn) {
            return site.nothing_to_remove();
        }
        attribute::apply(self.holder(urn)?, op, site, value)?;
        if self.body.get(urn).and_then(Value::as_object).is_some_and(Map::is_empty) {
            self.drop_extension(urn);
        }
        Ok(())
    }

    fn holder(&mut self, urn: &str) -> Result<&mut Map<String, Value>, Refusal> {
        let holder = self.body.entry(urn).or_insert_with(|| json!({}));
        holder
            .as_object_mut()
            .ok_or_else(|| Refusal::of(ScimType::InvalidPath, format!("{urn} is no extension")))
    }

    fn extension_key(&self, urn: &str) -> String {
        match self.kind.extension(urn) {
            Some(_) => super::schema::ENTERPRISE_URN.to_owned(),
            None => key_of(&self.body, urn),
        }
    }

    /// An extension that holds nothing leaves `schemas` too.
    fn drop_extension(&mut self, urn: &str) {
        self.body.remove(urn);
        if let Some(Value::Array(schemas)) = self.body.get_mut("schemas") {
            schemas.retain(|it| it.as_str().is_none_or(|it| !it.eq_ignore_ascii_case(urn)));
        }
    }
}

/// Read-only attributes can't be changed, required ones not be removed (RFC 7644 s3.5.2, s3.5.2.2).
fn check_mutability(op: Op, site: &Site<'_>) -> Result<(), Refusal> {
    let read_only =
        |it: Option<&'static Attribute>| it.is_some_and(|it| it.mutability == Mutability::ReadOnly);
    let refuse = |why: &str| Err(Refusal::of(ScimType::Mutability, format!("{} is {why}", site.name)));
    if read_only(site.definition) || read_only(site.sub_definition()) {
        return refuse("read-only");
    }
    let whole = site.filter.is_none() && site.sub.is_none();
    if op == Op::Remove && whole && site.definition.is_some_and(|it| it.required) {
        return refuse("required");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
