use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::person::ENTERPRISE;
use super::{Expected, ExpectedUser, Sample, Size, compare, generate};

const SMALL: Size = Size { people: 200, groups: 12, events: 3_000, managers: true };
/// What `make run` uses.
const TOUR: Size = Size { people: 2_000, groups: 100, events: 20_000, managers: true };

#[test]
fn the_events_in_the_order_of_the_source_lead_to_the_expected_directory() {
    for seed in 0..20 {
        assert_eq!(differences(&generate(seed, SMALL)), [], "seed {seed}");
    }
    assert_eq!(differences(&generate(7, TOUR)), []);
}

#[test]
fn the_same_seed_gives_the_same_sample_and_another_seed_another() {
    let (first, second) = (generate(7, SMALL), generate(7, SMALL));
    assert_eq!(first.events, second.events);
    assert_eq!(first.expected.users, second.expected.users);
    assert_eq!(first.expected.groups, second.expected.groups);
    assert_ne!(first.events, generate(8, SMALL).events);
}

#[test]
fn everybody_comes_and_exactly_the_messages_asked_for_are_published() {
    let sample = generate(7, TOUR);
    assert_eq!(sample.events.len(), TOUR.events);
    assert_eq!(sample.expected.users.len(), TOUR.people);
    assert!((90..TOUR.groups).contains(&sample.expected.groups.len()));
    let founded = subjects(&sample, "directory.group.put");
    assert_eq!(founded.len(), TOUR.groups);
}

#[test]
fn all_kinds_of_event_occur_out_of_order_and_repeated() {
    let sample = generate(7, TOUR);
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for event in &sample.events {
        *kinds.entry(text(&event["type"])).or_default() += 1;
    }
    let expected = [
        "directory.group.delete",
        "directory.group.patch",
        "directory.group.put",
        "directory.user.activate",
        "directory.user.deactivate",
        "directory.user.delete",
        "directory.user.patch",
        "directory.user.put",
    ];
    assert_eq!(kinds.keys().copied().collect::<Vec<_>>(), expected);
    let numbers: Vec<&str> = sample.events.iter().map(|event| text(&event["sequence"])).collect();
    let backwards = numbers.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!(backwards > TOUR.events / 3, "{backwards} of {} are out of order", TOUR.events);
    let different: BTreeSet<_> = sample.events.iter().map(|event| text(&event["id"])).collect();
    assert!((200..2_000).contains(&(TOUR.events - different.len())), "{} different", different.len());
}

#[test]
fn a_guard_against_mass_deprovisioning_has_no_reason_to_trip() {
    let sample = generate(7, TOUR);
    let mut leavers = subjects(&sample, "directory.user.delete");
    leavers.extend(subjects(&sample, "directory.user.deactivate"));
    let inactive = sample.events.iter().filter(|event| {
        let body = event["data"].to_string();
        body.contains("\"active\":false") || body.contains("\"False\"")
    });
    leavers.extend(inactive.map(|event| text(&event["subject"]).to_owned()));
    assert!((60..=150).contains(&leavers.len()), "{} leave", leavers.len());
    assert!(subjects(&sample, "directory.group.delete").len() <= 10);
}

#[test]
fn nobody_ever_has_a_user_name_that_was_somebody_elses() {
    let sample = generate(7, TOUR);
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    for event in &sample.events {
        for name in user_names(&event["data"]) {
            let owner = *owners.entry(name.clone()).or_insert(text(&event["subject"]));
            assert_eq!(owner, text(&event["subject"]), "{name}");
        }
    }
    assert!(owners.len() > TOUR.people);
}

#[test]
fn a_planted_difference_is_found() {
    let sample = generate(7, SMALL);
    let good = target(&fold(&sample.events));
    assert_eq!(compare(&sample.expected, &good), []);
    let plant = |change: &dyn Fn(&mut Value)| {
        let mut state = good.clone();
        change(&mut state);
        compare(&sample.expected, &state).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let at = index(&good, "Users", "e-10001");
    assert_eq!(plant(&|state| state["Users"][at]["title"] = json!("Pilot")).len(), 1);
    assert_eq!(
        plant(&|state| state["Users"][at]["nickName"] = json!("Bo")),
        ["User/e-10001: nickName is \"Bo\", not absent"]
    );
    assert_eq!(plant(&|state| state["Users"][at]["emails"] = json!([])).len(), 1);
    assert_eq!(plant(&|state| state["Users"][at]["active"] = json!(null)), Vec::<String>::new());
    let renamed = plant(&|state| state["Users"][at]["externalId"] = json!("e-1"));
    assert!(renamed.contains(&"User/e-10001: is missing".to_owned()));
    assert!(renamed.contains(&"User/e-1: should not be there".to_owned()));
    let group = index(&good, "Groups", "g-0001");
    assert_eq!(plant(&|state| state["Groups"][group]["displayName"] = json!("?")).len(), 1);
    assert_eq!(
        plant(&|state| drop(state["Groups"][group]["members"].as_array_mut().unwrap().pop())).len(),
        1
    );
    let twice = |state: &mut Value| {
        let again = state["Groups"][group].clone();
        state["Groups"].as_array_mut().unwrap().push(again);
    };
    assert_eq!(plant(&twice), ["Group/g-0001: is there twice"]);
}

#[test]
fn who_was_deleted_may_be_missing_or_inactive_but_not_active() {
    let sample = generate(7, SMALL);
    let good = target(&fold(&sample.events));
    let gone = sample.expected.users.iter().find(|(_, user)| **user == ExpectedUser::Gone).unwrap().0;
    let at = index(&good, "Users", gone);
    let mut never_created = good.clone();
    let id = never_created["Users"].as_array_mut().unwrap().remove(at)["id"].clone();
    for group in never_created["Groups"].as_array_mut().unwrap() {
        group["members"].as_array_mut().unwrap().retain(|member| member["value"] != id);
    }
    assert_eq!(compare(&sample.expected, &never_created), []);
    let mut active = good;
    active["Users"][at]["active"] = json!(true);
    let found = compare(&sample.expected, &active);
    assert_eq!(found[0].to_string(), format!("User/{gone}: was deleted and is still active"));
}

fn differences(sample: &Sample) -> Vec<super::Difference> {
    compare(&sample.expected, &target(&fold(&sample.events)))
}

fn subjects(sample: &Sample, kind: &str) -> BTreeSet<String> {
    let events = sample.events.iter().filter(|event| event["type"] == kind);
    events.map(|event| text(&event["subject"]).to_owned()).collect()
}

fn user_names(data: &Value) -> Vec<String> {
    let operations = data["Operations"].as_array().into_iter().flatten();
    let patched = operations.flat_map(|operation| {
        let named = (operation["path"] == "userName").then(|| operation["value"].clone());
        [named.unwrap_or_default(), operation["value"]["userName"].clone()]
    });
    let all = patched.chain([data["userName"].clone()]);
    all.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

fn index(state: &Value, list: &str, external: &str) -> usize {
    state[list].as_array().unwrap().iter().position(|resource| resource["externalId"] == external).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

// --- A naive reading of the events: each once, in the order of the source, into plain documents. ---

type Directory = BTreeMap<String, Map<String, Value>>;

fn fold(events: &[Value]) -> Directory {
    let ordered: BTreeMap<&str, &Value> =
        events.iter().map(|event| (text(&event["sequence"]), event)).collect();
    let mut directory = Directory::new();
    for event in ordered.into_values() {
        apply(&mut directory, event);
    }
    directory
}

fn apply(directory: &mut Directory, event: &Value) {
    let subject = text(&event["subject"]).to_owned();
    let old = directory.remove(&subject);
    let new = match text(&event["type"]) {
        "directory.user.put" | "directory.group.put" => Some(put(old, event["data"].as_object().unwrap())),
        "directory.user.patch" | "directory.group.patch" => Some(patch(old.unwrap(), &event["data"])),
        "directory.user.activate" => Some(with(old.unwrap(), "active", json!(true))),
        "directory.user.deactivate" => Some(with(old.unwrap(), "active", json!(false))),
        "directory.user.delete" => {
            Some(with(with(old.unwrap(), "active", json!(false)), "gone", json!(true)))
        }
        "directory.group.delete" => None,
        other => panic!("{other}"),
    };
    if let Some(new) = new {
        directory.insert(subject, new);
    }
}

fn with(mut resource: Map<String, Value>, name: &str, value: Value) -> Map<String, Value> {
    resource.insert(name.to_owned(), value);
    resource
}

fn put(old: Option<Map<String, Value>>, data: &Map<String, Value>) -> Map<String, Value> {
    let mut new = data.clone();
    let old = old.filter(|old| !old.contains_key("gone")).unwrap_or_default();
    for kept in ["active", "members"] {
        if let (false, Some(value)) = (new.contains_key(kept), old.get(kept)) {
            new.insert(kept.to_owned(), value.clone());
        }
    }
    if new.contains_key("userName") {
        new.entry("active").or_insert(json!(true));
    }
    new
}

fn patch(resource: Map<String, Value>, data: &Value) -> Map<String, Value> {
    assert!(!resource.contains_key("gone"), "the source does not patch whom it deleted");
    let mut resource = Value::Object(resource);
    for operation in data["Operations"].as_array().unwrap() {
        let verb = text(&operation["op"]).to_lowercase();
        match operation["path"].as_str() {
            Some(path) => write(&mut resource, &verb, path, &operation["value"]),
            None => merge(&mut resource, &operation["value"]),
        }
    }
    let Value::Object(resource) = resource else { panic!() };
    resource
}

fn merge(into: &mut Value, from: &Value) {
    for (name, value) in from.as_object().unwrap() {
        match value {
            Value::Object(_) => merge(&mut into[name], value),
            _ => into[name] = value.clone(),
        }
    }
}

fn write(resource: &mut Value, verb: &str, path: &str, value: &Value) {
    let value = match value.as_str() {
        Some("True") => &json!(true),
        Some("False") => &json!(false),
        _ => value,
    };
    if let Some((list, element)) = path.split_once('[') {
        let (condition, part) = element.split_once(']').unwrap();
        let (key, wanted) = condition.split_once(" eq ").unwrap();
        let elements = resource[list].as_array_mut().unwrap();
        let is_it = |element: &Value| element[key] == wanted.trim_matches('"');
        match verb {
            "remove" => elements.retain(|element| !is_it(element)),
            _ => elements.iter_mut().filter(|e| is_it(e)).for_each(|e| e[&part[1..]] = value.clone()),
        }
        return;
    }
    if let ("add", Value::Array(new)) = (verb, value) {
        return add(&mut resource[path], new);
    }
    let (outer, inner) = match path.strip_prefix(ENTERPRISE) {
        Some(name) => (ENTERPRISE, &name[1..]),
        None => path.split_once('.').unwrap_or((path, "")),
    };
    let mut at = &mut resource[outer];
    for part in inner.split('.').filter(|part| !part.is_empty()) {
        at = &mut at[part];
    }
    *at = if verb == "remove" { Value::Null } else { value.clone() };
}

fn add(list: &mut Value, new: &[Value]) {
    let mut elements = list.as_array().cloned().unwrap_or_default();
    for element in new {
        let key = if element["type"].is_null() { "value" } else { "type" };
        elements.retain(|old| old[key] != element[key]);
        elements.push(element.clone());
    }
    *list = Value::Array(elements);
}

/// As a target would show it: ids of its own everywhere.
fn target(directory: &Directory) -> Value {
    let id = |external: &str| format!("t{}", external.chars().rev().collect::<String>());
    let of_target = |mut reference: Value| {
        reference["value"] = json!(id(text(&reference["value"])));
        reference
    };
    let mut state = json!({ "Users": [], "Groups": [] });
    for (external, resource) in directory {
        let mut resource = Value::Object(resource.clone());
        resource["externalId"] = json!(external);
        resource["id"] = json!(id(external));
        resource["meta"] = json!({ "version": "W/\"1\"" });
        let list = if resource["userName"].is_null() { "Groups" } else { "Users" };
        let members = resource["members"].as_array().cloned();
        if let Some(members) = members {
            resource["members"] = members.into_iter().map(of_target).collect();
        }
        let manager = resource[ENTERPRISE]["manager"].clone();
        if !manager["value"].is_null() {
            resource[ENTERPRISE]["manager"] = of_target(manager);
        }
        state[list].as_array_mut().unwrap().push(resource);
    }
    state
}

/// Guards the guard: an expected directory that is empty would equal an empty target.
#[test]
fn an_empty_target_is_not_the_expected_directory() {
    let sample = generate(7, SMALL);
    assert!(compare(&sample.expected, &json!({ "Users": [], "Groups": [] })).len() > SMALL.people / 2);
    assert_eq!(compare(&Expected::default(), &json!({})), []);
}
