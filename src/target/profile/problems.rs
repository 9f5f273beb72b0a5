//! Reading a profile's text, with all that is wrong in it at once.

use reqwest::header::HeaderValue;
use toml::{Table, Value};

use super::{Attribute, Problem, Profile, Type, Update};
use crate::core::budget::Rate;

/// Parses a profile.
pub(super) fn parse(text: &str) -> Result<Profile, Vec<Problem>> {
    let table = text.parse::<Table>().map_err(|error| {
        let line = line_at(text, error.span().map_or(0, |span| span.start));
        vec![Problem {
            line,
            key: String::new(),
            what: format!("is not TOML: {}", one_line(error.message())),
        }]
    })?;
    let mut problems = Vec::new();
    // every field has a default: so each key can be read alone, and one that is wrong hides no other
    for (path, value) in leaves(&table) {
        let alone = nested(&path, value);
        if let Err(error) = alone.try_into::<Profile>() {
            problems.push((path.join("."), one_line(error.message())));
        }
    }
    if problems.is_empty() {
        let profile = Value::Table(table.clone()).try_into::<Profile>();
        match profile {
            Ok(profile) => {
                problems.extend(contradictions(&profile, &table));
                if problems.is_empty() {
                    return Ok(profile);
                }
            }
            Err(error) => problems.push((String::new(), one_line(error.message()))),
        }
    }
    let placed = problems.into_iter().map(|(key, what)| Problem { line: line_of(text, &key), key, what });
    let mut problems: Vec<Problem> = placed.collect();
    problems.sort();
    Err(problems)
}

/// Every value that is no table, and every empty table, with its path.
fn leaves(table: &Table) -> Vec<(Vec<String>, Value)> {
    let mut found = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(inner) if !inner.is_empty() => {
                for (mut path, value) in leaves(inner) {
                    path.insert(0, name.clone());
                    found.push((path, value));
                }
            }
            value => found.push((vec![name.clone()], value.clone())),
        }
    }
    found
}

fn nested(path: &[String], value: Value) -> Value {
    path.iter().rev().fold(value, |value, name| Value::Table(Table::from_iter([(name.clone(), value)])))
}

/// What is wrong although each value is well-formed: key and what.
fn contradictions(profile: &Profile, table: &Table) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut problem = |key: &str, what: &str| problems.push((key.to_owned(), what.to_owned()));
    for (key, path) in [
        ("base_path", profile.base_path.as_ref()),
        ("discovery.path", Some(&profile.discovery.path)),
        ("bulk.path", Some(&profile.bulk.path)),
        ("users.path", profile.users.path.as_ref()),
        ("groups.path", profile.groups.path.as_ref()),
    ] {
        if path.is_some_and(|path| !is_path(path)) {
            problem(
                key,
                "must be a path such as \"/Users\": a slash, then letters, digits, `-`, `_`, `.`, `/`",
            );
        }
    }
    let http = &profile.http;
    for (key, header) in [
        ("http.user_agent", &http.user_agent),
        ("http.content_type", &http.content_type),
        ("http.accept", &http.accept),
    ] {
        if header.as_ref().is_some_and(|text| text.is_empty() || HeaderValue::from_str(text).is_err()) {
            problem(key, "must be a text that a header can carry");
        }
    }
    let rates = &profile.rates;
    for (key, rate) in [("rates.requests", &rates.requests), ("rates.operations", &rates.operations)] {
        if rate.as_ref().is_some_and(|rate| !is_rate(rate)) {
            problem(key, "must be a rate such as \"10/s\", \"180/m\" or \"1000/h\"");
        }
    }
    for (section, said) in [("users", &profile.users), ("groups", &profile.groups)] {
        of_type(section, said, &mut problem);
    }
    if !profile.members.listed && profile.groups.update == Update::Put {
        problem(
            "members.listed",
            "must be true with groups.update = \"put\": a PUT of what was read would empty the group",
        );
    }
    for key in profile.sources.keys() {
        if !is_set(table, key) {
            problem(&format!("sources.{key}"), "is the source of a key that this profile does not set");
        }
    }
    problems
}

fn of_type(section: &str, said: &Type, problem: &mut impl FnMut(&str, &str)) {
    let is_repeated = |list: &Vec<Attribute>| {
        list.iter().enumerate().any(|(index, attribute)| list[..index].contains(attribute))
    };
    if said.matching.as_ref().is_some_and(|list| list.is_empty() || is_repeated(list)) {
        problem(&format!("{section}.matching"), "must name at least one attribute, and none twice");
    }
    if said.refuses_existing && !said.create {
        problem(&format!("{section}.refuses_existing"), "means nothing with create = false");
    }
    if said.soft_delete && !said.delete {
        problem(&format!("{section}.soft_delete"), "means nothing with delete = false");
    }
    if said.update == Update::Put && !said.put {
        problem(&format!("{section}.put"), "contradicts update = \"put\"");
    }
    if said.hidden.as_ref().is_some_and(|filter| filter.trim().is_empty()) {
        problem(&format!("{section}.hidden"), "must be a filter such as \"active eq false\"");
    }
}

fn is_path(path: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '{' | '}');
    path.len() > 1 && path.starts_with('/') && !path.contains("//") && path.chars().all(good)
}

/// What the budget can read.
fn is_rate(rate: &str) -> bool {
    !rate.starts_with('0') && rate.parse::<Rate>().is_ok()
}

fn is_set(table: &Table, key: &str) -> bool {
    let mut names = key.split('.');
    let first = names.next().and_then(|name| table.get(name));
    names.fold(first, |value, name| value?.as_table()?.get(name)).is_some()
}

/// The line of a key, or of the nearest section above it.
fn line_of(text: &str, key: &str) -> usize {
    let Ok(document) = toml::de::DeTable::parse(text) else { return 1 };
    let mut table = document.get_ref();
    let (mut line, mut rest) = (1, key);
    while !rest.is_empty() {
        // a name may hold dots itself: those of `sources` do
        let named = |name: &str| rest == name || rest.strip_prefix(name).is_some_and(|r| r.starts_with('.'));
        let Some((name, value)) = table.iter().find(|(name, _)| named(name.get_ref())) else { break };
        line = line_at(text, name.span().start);
        rest = rest[name.get_ref().len()..].trim_start_matches('.');
        match value.get_ref() {
            toml::de::DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    line
}

fn line_at(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).matches('\n').count() + 1
}

fn one_line(message: &str) -> String {
    message.trim().replace('\n', ", ")
}
