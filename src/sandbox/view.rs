//! Shows a resource: what is stored, what is computed, and only what the request asks for (RFC 7644 s3.9).

use scim_v2::filter::{AttrPath, PatchPath};
use serde_json::{Map, Value, json};

use super::directory::{Directory, Resource};
use super::error::Refusal;
use super::filter::parse_path;
use super::manners::Manners;
use super::path::{Located, Owner, get, key_of, locate};
use super::schema::{Kind, Returned};

/// What is needed to show resources.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// All resources: groups of users, types of members.
    pub directory: &'a Directory,
    /// The address of the provider, for `location` and `$ref`.
    pub base: &'a str,
    /// What is special about the provider: paths, the form of versions.
    pub manners: &'a Manners,
    /// Whether resources have versions.
    pub etags: bool,
    /// Whether groups are shown with their members.
    pub lists_members: bool,
}

/// Which attributes a request asks for.
#[derive(Clone, Debug, Default)]
pub enum Projection {
    /// All.
    #[default]
    Default,
    /// `attributes`: these, and those returned always.
    Only(Vec<AttrPath>),
    /// `excludedAttributes`: all but these, save those returned always.
    Without(Vec<AttrPath>),
}

impl Projection {
    /// Reads the lists of the two parameters; `attributes` wins.
    ///
    /// # Errors
    /// `invalidPath`.
    pub fn parse<'t>(
        only: impl Iterator<Item = &'t str>,
        without: impl Iterator<Item = &'t str>,
    ) -> Result<Self, Refusal> {
        let only = paths(only)?;
        if !only.is_empty() {
            return Ok(Projection::Only(only));
        }
        let without = paths(without)?;
        Ok(if without.is_empty() { Projection::Default } else { Projection::Without(without) })
    }

    /// Whether it asks for anything but the default.
    pub fn is_explicit(&self) -> bool {
        !matches!(self, Projection::Default)
    }

    /// Whether a core attribute can be part of the answer: large ones are not even built otherwise.
    fn wants(&self, name: &str) -> bool {
        let names = |path: &AttrPath| path.name.eq_ignore_ascii_case(name);
        match self {
            Projection::Default => true,
            Projection::Only(paths) => paths.iter().any(names),
            Projection::Without(paths) => !paths.iter().any(|path| names(path) && path.sub_attr.is_none()),
        }
    }
}

fn paths<'t>(texts: impl Iterator<Item = &'t str>) -> Result<Vec<AttrPath>, Refusal> {
    let given = texts.map(str::trim).filter(|text| !text.is_empty());
    given.filter_map(|text| attribute_path(text).transpose()).collect()
}

/// None for a path with a filter: it names no attribute.
fn attribute_path(text: &str) -> Result<Option<AttrPath>, Refusal> {
    match parse_path(text)? {
        PatchPath::Attr(path) => Ok(Some(path)),
        PatchPath::Value(_) => Ok(None),
    }
}

impl View<'_> {
    /// The resource as answers carry it.
    pub fn show(&self, resource: &Resource, projection: &Projection) -> Value {
        let mut shown = match projection {
            Projection::Only(paths) => only(resource, paths),
            Projection::Default | Projection::Without(_) => resource.body.clone(),
        };
        for name in ["id", "meta", "groups", "members"] {
            if (name == "id" || projection.wants(name))
                && let Some(Some(value)) = self.computed(resource, name)
            {
                let value = match projection {
                    Projection::Only(paths) if name != "id" => narrowed(value, name, paths),
                    _ => Some(value),
                };
                shown.extend(value.map(|value| (name.to_owned(), value)));
            }
        }
        if let Projection::Without(paths) = projection {
            exclude(resource.kind, &mut shown, paths);
        }
        Value::Object(shown)
    }

    /// An attribute that is computed, if it is one; within, none where it is unassigned.
    pub fn computed(&self, resource: &Resource, name: &str) -> Option<Option<Value>> {
        match (name, resource.kind) {
            ("id", _) => Some(Some(Value::from(&*resource.id))),
            ("meta", _) => Some(Some(self.meta(resource))),
            ("groups", Kind::User) => Some(self.groups(resource)),
            ("members", Kind::Group) => Some(self.members(resource).filter(|_| self.lists_members)),
            _ => None,
        }
    }

    /// The address of a resource.
    pub fn location(&self, kind: Kind, id: &str) -> String {
        format!("{}/{}/{id}", self.base, self.manners.segment(kind))
    }

    fn meta(&self, resource: &Resource) -> Value {
        let mut meta = json!({
            "resourceType": resource.kind.name(),
            "created": resource.created.to_string(),
            "lastModified": resource.modified.to_string(),
            "location": self.location(resource.kind, &resource.id),
        });
        if self.etags {
            meta["version"] = self.manners.etag_form().of(resource.version).into();
        }
        meta
    }

    fn groups(&self, resource: &Resource) -> Option<Value> {
        let groups: Vec<Value> = self
            .directory
            .groups_of(&resource.id)
            .map(|group| {
                json!({
                    "value": &*group.id,
                    "$ref": self.location(Kind::Group, &group.id),
                    "display": group.text("displayName"),
                    "type": "direct",
                })
            })
            .collect();
        (!groups.is_empty()).then(|| groups.into())
    }

    fn members(&self, resource: &Resource) -> Option<Value> {
        let members: Vec<Value> = resource
            .members
            .iter()
            .map(|(id, details)| {
                let mut element = details.element(id);
                if let Some(kind) = self.directory.kind_of(id) {
                    element.insert("$ref".into(), self.location(kind, id).into());
                    element.insert("type".into(), kind.name().into());
                }
                Value::Object(element)
            })
            .collect();
        (!members.is_empty()).then(|| members.into())
    }
}

/// The stored attributes that `paths` name, and those returned always.
fn only(resource: &Resource, paths: &[AttrPath]) -> Map<String, Value> {
    let mut shown = Map::new();
    if let Some(schemas) = resource.body.get("schemas") {
        shown.insert("schemas".into(), schemas.clone());
    }
    for path in paths {
        let located = locate(resource.kind, &resource.body, path);
        if let Some(found) = named(&resource.body, &located) {
            place(&mut shown, &located, found);
        }
    }
    shown
}

fn named(body: &Map<String, Value>, located: &Located) -> Option<Value> {
    let value = match (&located.name, &located.owner) {
        (Some(name), _) => get(located.holder(body)?, name)?,
        (None, Owner::Extension(urn)) => body.get(urn)?,
        (None, Owner::Core) => return None,
    };
    match &located.sub {
        Some(sub) => sub_of(value, sub),
        None => Some(value.clone()),
    }
}

/// The value with no more than this sub-attribute.
fn sub_of(value: &Value, sub: &str) -> Option<Value> {
    match value {
        Value::Array(elements) => {
            let kept: Vec<Value> = elements.iter().filter_map(|element| sub_of(element, sub)).collect();
            (!kept.is_empty()).then(|| kept.into())
        }
        Value::Object(map) => Some(json!({key_of(map, sub): get(map, sub)?})),
        _ => None,
    }
}

fn place(shown: &mut Map<String, Value>, located: &Located, value: Value) {
    let holder = match (&located.owner, &located.name) {
        (Owner::Extension(urn), Some(_)) => {
            let holder = shown.entry(urn.clone()).or_insert_with(|| json!({}));
            let Some(holder) = holder.as_object_mut() else { return };
            holder
        }
        _ => shown,
    };
    let key = match (&located.name, &located.owner) {
        (Some(name), _) | (None, Owner::Extension(name)) => name.clone(),
        (None, Owner::Core) => return,
    };
    match holder.get_mut(&key) {
        Some(before) => merge(before, value),
        None => {
            holder.insert(key, value);
        }
    }
}

/// Joins two sub-attributes of the same attribute.
fn merge(before: &mut Value, value: Value) {
    match (before, value) {
        (Value::Object(before), Value::Object(value)) => before.extend(value),
        (Value::Array(before), Value::Array(value)) if before.len() == value.len() => {
            before.iter_mut().zip(value).for_each(|(before, value)| merge(before, value));
        }
        (before, value) => *before = value,
    }
}

/// A computed attribute with the sub-attributes that are asked for.
fn narrowed(value: Value, name: &str, paths: &[AttrPath]) -> Option<Value> {
    let mine: Vec<&AttrPath> = paths.iter().filter(|path| path.name.eq_ignore_ascii_case(name)).collect();
    if mine.iter().any(|path| path.sub_attr.is_none()) {
        return Some(value);
    }
    let mut kept = None;
    for sub in mine.iter().filter_map(|path| path.sub_attr.as_deref()) {
        match (&mut kept, sub_of(&value, sub)) {
            (Some(kept), Some(found)) => merge(kept, found),
            (kept @ None, found) => *kept = found,
            (Some(_), None) => {}
        }
    }
    kept
}

fn exclude(kind: Kind, shown: &mut Map<String, Value>, paths: &[AttrPath]) {
    for path in paths {
        let located = locate(kind, shown, path);
        let always = located.definition.is_some_and(|it| it.returned == Returned::Always);
        if always && located.owner == Owner::Core {
            continue;
        }
        match (&located.owner, &located.name) {
            (Owner::Core, Some(name)) => exclude_one(shown, name, located.sub.as_deref()),
            (Owner::Extension(urn), Some(name)) => {
                if let Some(Value::Object(holder)) = shown.get_mut(urn) {
                    exclude_one(holder, name, located.sub.as_deref());
                }
            }
            (Owner::Extension(urn), None) => {
                shown.remove(urn);
            }
            (Owner::Core, None) => {}
        }
    }
}

fn exclude_one(holder: &mut Map<String, Value>, name: &str, sub: Option<&str>) {
    let key = key_of(holder, name);
    match (sub, holder.get_mut(&key)) {
        (None, _) => {
            holder.remove(&key);
        }
        (Some(sub), Some(value)) => drop_sub(value, sub),
        (Some(_), None) => {}
    }
}

fn drop_sub(value: &mut Value, sub: &str) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(|element| drop_sub(element, sub)),
        Value::Object(map) => {
            super::path::remove(map, sub);
        }
        _ => {}
    }
}
