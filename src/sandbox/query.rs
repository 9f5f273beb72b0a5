//! Queries (RFC 7644 s3.4.2): filter, sort, page, project.

use std::cmp::Ordering;

use scim_v2::filter::{AttrPath, Filter, PatchPath};
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::directory::Resource;
use super::error::{Refusal, ScimType};
use super::faults::Faults;
use super::filter::{self, Subject};
use super::manners::Manners;
use super::path::{get, remove};
use super::provider::Provider;
use super::schema::Kind;
use super::view::{Projection, View};

const LIST_URN: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// What a query asks for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    filter: Option<String>,
    projection: Projection,
    sort_by: Option<AttrPath>,
    descending: bool,
    start_index: usize,
    count: Option<usize>,
}

impl Query {
    /// Reads the query part of a URL. Unknown parameters count for nothing.
    ///
    /// # Errors
    /// `invalidPath`, `invalidValue`.
    pub fn of_url(query: &str) -> Result<Self, Refusal> {
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
        Self::of_parameters(&pairs.map(|(name, value)| (name, Value::String(value))).collect())
    }

    /// Reads a SearchRequest (RFC 7644 s3.4.3).
    ///
    /// # Errors
    /// `invalidSyntax`, `invalidPath`, `invalidValue`.
    pub fn of_search(body: Value) -> Result<Self, Refusal> {
        match body {
            Value::Object(mut parameters) => {
                remove(&mut parameters, "schemas");
                Self::of_parameters(&parameters)
            }
            _ => Err(Refusal::of(ScimType::InvalidSyntax, "a SearchRequest is an object")),
        }
    }

    fn of_parameters(parameters: &Map<String, Value>) -> Result<Self, Refusal> {
        let text = |name: &str| get(parameters, name).and_then(Value::as_str);
        let only = names(get(parameters, "attributes"));
        let without = names(get(parameters, "excludedAttributes"));
        let start_index = number(parameters, "startIndex")?.unwrap_or(1).max(1);
        let count = number(parameters, "count")?.map(|it| it.max(0));
        Ok(Self {
            filter: text("filter").map(str::to_owned),
            projection: Projection::parse(only.into_iter(), without.into_iter())?,
            sort_by: text("sortBy").map(sort_path).transpose()?,
            descending: text("sortOrder").is_some_and(|it| it.eq_ignore_ascii_case("descending")),
            start_index: usize::try_from(start_index).unwrap_or(usize::MAX),
            count: count.map(|it| usize::try_from(it).unwrap_or(usize::MAX)),
        })
    }

    /// What the answer shall show.
    pub fn projection(&self) -> &Projection {
        &self.projection
    }

    /// The ListResponse over the resources of these types.
    ///
    /// # Errors
    /// `invalidFilter`; 429 for a page that is too large, where the provider answers so.
    pub fn run(&self, provider: &Provider, base: &str, kinds: &[Kind]) -> Result<Value, Refusal> {
        let Provider { faults, manners, .. } = provider;
        manners.check_page(self.count)?;
        let filter = self.filter(kinds, faults, manners)?;
        let view = provider.view(base);
        let mut found: Vec<&Resource> = Vec::new();
        for kind in kinds {
            let unasked = manners.unasked(*kind, filter.as_ref());
            let is_hidden = |resource: &&Resource| {
                unasked.as_ref().is_some_and(|it| filter::matches(it, &Subject { resource, view }))
            };
            let matching = matching(view, *kind, filter.as_ref()).into_iter();
            found.extend(matching.filter(|resource| !is_hidden(resource)));
        }
        if let Some(path) = &self.sort_by {
            self.sort(view, path, &mut found);
        }
        let count = self.count.unwrap_or(faults.page_size).min(faults.page_size);
        let page = found.iter().skip(self.start_index - 1).take(count);
        let shown: Vec<Value> = page.map(|resource| view.show(resource, &self.projection)).collect();
        Ok(list_response(found.len(), self.start_index, shown))
    }

    fn filter(&self, kinds: &[Kind], faults: &Faults, manners: &Manners) -> Result<Option<Filter>, Refusal> {
        match &self.filter {
            None => Ok(None),
            Some(_) if faults.ignore_filter => Ok(None),
            Some(_) if !faults.filter => {
                Err(Refusal::of(ScimType::InvalidFilter, "filters are not supported"))
            }
            Some(text) => {
                let filter = filter::parse(text, kinds)?;
                manners.check_filter(text, &filter, kinds)?;
                Ok(Some(filter))
            }
        }
    }

    /// Resources without the attribute come last, descending first (RFC 7644 s3.4.2.3).
    fn sort(&self, view: View<'_>, path: &AttrPath, found: &mut Vec<&Resource>) {
        let mut keyed: Vec<(Option<SortKey>, &Resource)> =
            found.drain(..).map(|resource| (sort_key(view, path, resource), resource)).collect();
        keyed.sort_by(|(a, _), (b, _)| {
            let order = match (a, b) {
                (Some(a), Some(b)) => a.cmp(b),
                (a, b) => b.is_some().cmp(&a.is_some()),
            };
            if self.descending { order.reverse() } else { order }
        });
        found.extend(keyed.into_iter().map(|(_, resource)| resource));
    }
}

/// A ListResponse message (RFC 7644 s3.4.2).
pub fn list_response(total: usize, start_index: usize, resources: Vec<Value>) -> Value {
    json!({
        "schemas": [LIST_URN],
        "totalResults": total,
        "startIndex": start_index,
        "itemsPerPage": resources.len(),
        "Resources": resources,
    })
}

/// In the order of creation; by index where the filter allows it.
fn matching<'a>(view: View<'a>, kind: Kind, filter: Option<&Filter>) -> Vec<&'a Resource> {
    let collection = view.directory.collection(kind);
    let Some(filter) = filter else {
        return collection.iter().collect();
    };
    let passes = |resource: &&Resource| filter::matches(filter, &Subject { resource, view });
    match filter::candidates(filter, kind, collection) {
        Some(places) => places.into_iter().filter_map(|it| collection.at(it)).filter(passes).collect(),
        None => collection.iter().filter(passes).collect(),
    }
}

#[derive(PartialEq)]
enum SortKey {
    Boolean(bool),
    Number(f64),
    Text(String),
}

impl SortKey {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (SortKey::Boolean(a), SortKey::Boolean(b)) => a.cmp(b),
            (SortKey::Number(a), SortKey::Number(b)) => a.total_cmp(b),
            (SortKey::Text(a), SortKey::Text(b)) => a.cmp(b),
            // one attribute has one type; whatever else was stored keeps its order
            _ => Ordering::Equal,
        }
    }
}

fn sort_key(view: View<'_>, path: &AttrPath, resource: &Resource) -> Option<SortKey> {
    let subject = Subject { resource, view };
    let located = subject.locate(path);
    let value = subject.value(&located)?;
    let (leaf, definition) = match (preferred(&value)?, located.sub.as_deref()) {
        (Value::Object(map), sub) => {
            let definition =
                located.definition.and_then(|it| super::schema::find(it.sub, sub.unwrap_or("value")));
            (get(map, sub.unwrap_or("value"))?, definition)
        }
        (simple, None) => (simple, located.definition),
        (_, Some(_)) => return None,
    };
    match leaf {
        Value::Bool(it) => Some(SortKey::Boolean(*it)),
        Value::Number(it) => it.as_f64().map(SortKey::Number),
        Value::String(it) if definition.is_some_and(|it| it.case_exact) => Some(SortKey::Text(it.clone())),
        Value::String(it) => Some(SortKey::Text(it.to_lowercase())),
        _ => None,
    }
}

/// Of a list, the primary value, else the first.
fn preferred(value: &Value) -> Option<&Value> {
    match value {
        Value::Array(elements) => elements
            .iter()
            .find(|element| element.get("primary") == Some(&Value::Bool(true)))
            .or_else(|| elements.first()),
        single => Some(single),
    }
}

fn sort_path(text: &str) -> Result<AttrPath, Refusal> {
    match filter::parse_path(text)? {
        PatchPath::Attr(path) => Ok(path),
        PatchPath::Value(path) => Ok(path.attr),
    }
}

/// Names as a list or separated by commas.
fn names(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => text.split(',').collect(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn number(parameters: &Map<String, Value>, name: &str) -> Result<Option<i64>, Refusal> {
    let wrong = || Refusal::of(ScimType::InvalidValue, format!("{name} must be a whole number"));
    match get(parameters, name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => number.as_i64().map(Some).ok_or_else(wrong),
        Some(Value::String(text)) => text.trim().parse().map(Some).map_err(|_| wrong()),
        Some(_) => Err(wrong()),
    }
}
