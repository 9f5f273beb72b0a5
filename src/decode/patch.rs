//! `patch`: an RFC 7644 s3.5.2 PatchOp becomes registers.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Refusal;
use super::put::{attributes, check_external_id, is_dropped, is_schema, member_values, normalised};
use crate::core::change::{Delta, MemberRegister, Register};
use crate::core::desired::{fold, is_members, is_nothing};
use crate::core::letter::Class;
use crate::core::path::{ENTERPRISE, Path, PathError};
use crate::core::resource::{ResourceKey, ResourceType};
use crate::core::revision::Revision;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Add,
    Replace,
    Remove,
}

impl Verb {
    const fn name(self) -> &'static str {
        match self {
            Verb::Add => "add",
            Verb::Replace => "replace",
            Verb::Remove => "remove",
        }
    }
}

/// Collects what the operations say, in their order: a later one wins.
struct Writer<'a> {
    key: &'a ResourceKey,
    revision: &'a Revision,
    delta: Delta,
}

/// The registers of a PatchOp.
pub(super) fn delta(key: &ResourceKey, data: Value, revision: &Revision) -> Result<Delta, Refusal> {
    let Value::Object(body) = data else { return Err(Refusal::decode("`data` of a patch is not an object")) };
    let operations = body.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("Operations"));
    let Some((_, Value::Array(operations))) = operations else {
        return Err(Refusal::decode("`data` of a patch has no list `Operations`"));
    };
    let mut writer = Writer { key, revision, delta: Delta::default() };
    for (at, operation) in operations.into_iter().enumerate() {
        writer.operation(operation).map_err(|problem| problem.at(at))?;
    }
    Ok(writer.delta)
}

/// What is wrong with one operation.
enum Problem {
    Unsupported(String),
    Refused(Refusal),
}

impl Problem {
    fn at(self, index: usize) -> Refusal {
        match self {
            Problem::Unsupported(why) => {
                Refusal::new(Class::UnsupportedPatch, format!("Operations[{index}]: {why}"))
            }
            Problem::Refused(refusal) => {
                Refusal { detail: format!("Operations[{index}]: {}", refusal.detail), ..refusal }
            }
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Problem::Refused(refusal)
    }
}

fn unsupported(why: impl Into<String>) -> Problem {
    Problem::Unsupported(why.into())
}

impl Writer<'_> {
    fn operation(&mut self, operation: Value) -> Result<(), Problem> {
        let Value::Object(mut map) = operation else { return Err(unsupported("not an object")) };
        let verb = verb(&map)?;
        let path = take(&mut map, "path");
        let value = take(&mut map, "value");
        match (path, value) {
            (Some(Value::String(urn)), Some(Value::Object(value)))
                if is_schema(&urn) && verb != Verb::Remove =>
            {
                self.expand(verb, Map::from_iter([(urn, Value::Object(value))]))
            }
            (Some(Value::String(urn)), _) if is_schema(&urn) => {
                let name = operation_name(verb, &urn);
                Err(unsupported(format!("{name}: a whole extension; name its attributes one by one")))
            }
            (Some(Value::String(path)), value) if !path.trim().is_empty() => {
                let name = operation_name(verb, &path);
                let path =
                    path.parse::<Path>().map_err(|error| unsupported(format!("{name}: {}", why(&error))))?;
                self.write(verb, path, value).map_err(|problem| named(&name, problem))
            }
            (Some(Value::String(_)) | None, Some(Value::Object(value))) if verb != Verb::Remove => {
                self.expand(verb, value)
            }
            (Some(Value::String(_)) | None, _) => Err(unsupported(format!("{} without a path", verb.name()))),
            (Some(_), _) => Err(unsupported("`path` is not a text")),
        }
    }

    /// An operation without a path writes each attribute of its value.
    fn expand(&mut self, verb: Verb, value: Map<String, Value>) -> Result<(), Problem> {
        let attributes = attributes(value).map_err(|refusal| unsupported(refusal.detail))?;
        for (path, value) in attributes {
            let name = operation_name(verb, &path.to_string());
            self.write(verb, path, Some(value)).map_err(|problem| named(&name, problem))?;
        }
        Ok(())
    }

    fn write(&mut self, verb: Verb, path: Path, value: Option<Value>) -> Result<(), Problem> {
        if path.schema.is_none() && path.attribute == "externalId" {
            return Ok(check_external_id(self.key, &value.unwrap_or_default())?);
        }
        if is_dropped(&path) {
            return Ok(());
        }
        if is_members(&path) {
            return self.write_members(verb, &path, value);
        }
        let value = value.filter(|value| !is_nothing(value));
        match (verb, value) {
            (Verb::Remove, _) | (Verb::Replace, None) => self.register(path, None),
            (Verb::Add, None) => {}
            (Verb::Add | Verb::Replace, Some(value)) => self.set(verb, path, value)?,
        }
        Ok(())
    }

    fn set(&mut self, verb: Verb, path: Path, value: Value) -> Result<(), Problem> {
        let value = normalised(&path, value).map_err(|refusal| unsupported(refusal.detail))?;
        match value {
            // the sub-attributes that are given are written, the others stay (RFC 7644 s3.5.2.1 and s3.5.2.3)
            Value::Object(map) if path.is_root() && path.root() != manager() => {
                if verb == Verb::Add && map.contains_key("type") && map.contains_key("value") {
                    return self.add_element(&path, Value::Object(map));
                }
                for (sub, value) in map {
                    let value = Some(value).filter(|value| !is_nothing(value));
                    self.register(path.with_sub(&sub), value);
                }
                Ok(())
            }
            Value::Array(items) if path.is_root() && verb == Verb::Add => {
                items.into_iter().try_for_each(|item| self.add_element(&path, item))
            }
            Value::Object(map) if path.selector.is_some() && path.sub.is_none() => {
                self.register(path.clone(), Some(with_selector(map, &path)));
                Ok(())
            }
            value => {
                self.register(path, Some(value));
                Ok(())
            }
        }
    }

    /// An element is told from others by its `type`, else by its `value`.
    fn add_element(&mut self, path: &Path, item: Value) -> Result<(), Problem> {
        let key = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
        let element = match (key("type"), key("value")) {
            (Some(kind), _) => path.with_selector("type", &kind),
            (None, Some(value)) => path.with_selector("value", &value),
            (None, None) => return Err(unsupported("an element to add has neither `type` nor `value`")),
        };
        self.register(element, Some(item));
        Ok(())
    }

    fn write_members(&mut self, verb: Verb, path: &Path, value: Option<Value>) -> Result<(), Problem> {
        if self.key.kind != ResourceType::Group {
            return Err(unsupported("a user has no `members`"));
        }
        match (&path.selector, &path.sub, verb, value) {
            (Some(selector), None, _, _) if selector.attribute == "value" => {
                self.member(selector.value.clone(), ResourceType::User, verb != Verb::Remove);
            }
            // an empty list names nobody
            (None, None, Verb::Remove, value) if value.as_ref().is_none_or(Value::is_null) => {
                self.all_members()
            }
            (None, None, Verb::Replace, value) => {
                self.all_members();
                self.members(value.as_ref(), true)?;
            }
            (None, None, Verb::Add, value) => self.members(value.as_ref(), true)?,
            (None, None, Verb::Remove, value) => self.members(value.as_ref(), false)?,
            _ => return Err(unsupported("of members, only whole ones can be written")),
        }
        Ok(())
    }

    fn members(&mut self, value: Option<&Value>, present: bool) -> Result<(), Problem> {
        let Some(value) = value.filter(|value| !is_nothing(value)) else { return Ok(()) };
        for (value, kind) in member_values(value).map_err(unsupported)? {
            self.member(value, kind, present);
        }
        Ok(())
    }

    fn member(&mut self, value: String, kind: ResourceType, present: bool) {
        self.delta.members.retain(|member| member.value != value);
        let revision = self.revision.clone();
        self.delta.members.push(MemberRegister { value, kind, present, revision });
    }

    /// The floor of the ledger: what was said before, in this event too, is hidden.
    fn all_members(&mut self) {
        self.delta.members.clear();
        let path = Path::core("members");
        self.delta.attributes.retain(|register| register.path != path);
        self.delta.attributes.push(Register::new(path, None, self.revision.clone()));
    }

    /// One event's writes share one revision, so they are folded here: a part into a whole of the same event.
    fn register(&mut self, path: Path, value: Option<Value>) {
        let whole = self
            .delta
            .attributes
            .iter_mut()
            .find(|r| r.path.is_root() && r.path != path && r.path.covers(&path));
        if let Some(whole) = whole {
            let old = whole.value.take().map(Arc::unwrap_or_clone);
            whole.value = fold(old, &[(path, value)]).map(Arc::new);
            return;
        }
        let element = self.delta.attributes.iter_mut().find(|r| r.path != path && r.path.covers(&path));
        if let Some(element) = element {
            fold_into_element(element, &path, value);
            return;
        }
        self.delta.attributes.retain(|register| !path.covers(&register.path));
        self.delta.attributes.push(Register::new(path, value, self.revision.clone()));
    }
}

fn fold_into_element(element: &mut Register, path: &Path, value: Option<Value>) {
    let Some(sub) = &path.sub else { return };
    let mut map = match element.value.take().map(Arc::unwrap_or_clone) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    };
    match value {
        Some(value) => drop(map.insert(sub.to_string(), value)),
        None => drop(map.remove(sub.as_str())),
    }
    element.value = Some(Arc::new(with_selector(map, &element.path)));
}

fn manager() -> Path {
    Path::extension(ENTERPRISE, "manager")
}

fn with_selector(mut map: Map<String, Value>, path: &Path) -> Value {
    if let Some(selector) = &path.selector {
        map.entry(selector.attribute.to_string()).or_insert_with(|| Value::String(selector.value.clone()));
    }
    Value::Object(map)
}

/// An operation as details name it. What a filter compares with is an attribute's value, and is left out.
fn operation_name(verb: Verb, path: &str) -> String {
    let texts = path.split('"').enumerate();
    let shown: Vec<&str> = texts.map(|(at, text)| if at % 2 == 0 { text } else { "…" }).collect();
    format!("{} `{}`", verb.name(), shown.join("\""))
}

/// What is wrong with a path, which the operation's name shows already.
fn why(error: &PathError) -> &'static str {
    match error {
        PathError::Malformed(_) => "not an attribute path",
        PathError::Selector(_) => "only [type eq \"…\"] and [value eq \"…\"] select elements here",
    }
}

fn named(name: &str, problem: Problem) -> Problem {
    match problem {
        Problem::Unsupported(why) if why.starts_with(name) => Problem::Unsupported(why),
        Problem::Unsupported(why) => Problem::Unsupported(format!("{name}: {why}")),
        Problem::Refused(refusal) => {
            Problem::Refused(Refusal { detail: format!("{name}: {}", refusal.detail), ..refusal })
        }
    }
}

fn verb(map: &Map<String, Value>) -> Result<Verb, Problem> {
    let op =
        map.iter().find(|(name, _)| name.eq_ignore_ascii_case("op")).and_then(|(_, value)| value.as_str());
    let op = op.ok_or_else(|| unsupported("`op` is missing"))?;
    match op.to_ascii_lowercase().as_str() {
        "add" => Ok(Verb::Add),
        "replace" => Ok(Verb::Replace),
        "remove" => Ok(Verb::Remove),
        _ => Err(unsupported(format!("unknown op `{}`", op.chars().take(32).collect::<String>()))),
    }
}

fn take(map: &mut Map<String, Value>, name: &str) -> Option<Value> {
    let key = map.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned()?;
    map.remove(&key)
}
