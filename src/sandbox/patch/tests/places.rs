//! Where a path leads beyond core attributes: extensions, members.

use serde_json::{Value, json};

use super::{becomes, group_becomes, refused};
use crate::sandbox::schema::{ENTERPRISE_URN, Kind, USER_URN};

// --- extensions

#[test]
fn extension_attributes_have_paths_and_change_schemas() {
    let with = |extension: Value| json!({"schemas": [USER_URN, ENTERPRISE_URN], ENTERPRISE_URN: extension});
    let at = |name: &str| format!("{ENTERPRISE_URN}:{name}");
    let add = |path: &str, value: Value| json!({"op": "add", "path": path, "value": value});
    becomes(json!({}), add(&at("department"), json!("R")), with(json!({"department": "R"})));
    becomes(json!({}), add(&at("DEPARTMENT").to_uppercase(), json!("R")), with(json!({"department": "R"})));
    becomes(json!({}), add(ENTERPRISE_URN, json!({"department": "R"})), with(json!({"department": "R"})));
    becomes(json!({}), add(&at("manager.value"), json!("m")), with(json!({"manager": {"value": "m"}})));
    becomes(json!({}), add(&at("manager"), json!({"value": "m"})), with(json!({"manager": {"value": "m"}})));
    let both = with(json!({"department": "R", "division": "D"}));
    becomes(
        both.clone(),
        json!({"op": "replace", "path": ENTERPRISE_URN, "value": {"department": "S"}}),
        with(json!({"department": "S", "division": "D"})),
    );
    becomes(both.clone(), json!({"op": "remove", "path": at("division")}), with(json!({"department": "R"})));
    becomes(both, json!({"op": "remove", "path": ENTERPRISE_URN}), json!({}));
    becomes(with(json!({"department": "R"})), json!({"op": "remove", "path": at("department")}), json!({}));
}

#[test]
fn without_a_path_extensions_stand_under_their_urn_or_attribute_by_attribute() {
    let after = json!({"schemas": [USER_URN, ENTERPRISE_URN],
        ENTERPRISE_URN: {"department": "R", "manager": {"value": "m"}}});
    let (department, manager) = (format!("{ENTERPRISE_URN}:department"), format!("{ENTERPRISE_URN}:manager"));
    for value in [
        json!({ENTERPRISE_URN: {"department": "R", "manager": {"value": "m"}}}),
        json!({department: "R", manager: {"value": "m"}}),
    ] {
        becomes(json!({}), json!({"op": "add", "value": value}), after.clone());
    }
}

#[test]
fn unknown_attributes_and_extensions_are_kept_as_they_come() {
    becomes(
        json!({}),
        json!({"op": "add", "value": {"urn:example:Badge": {"number": 7}, "shoeSize": 42}}),
        json!({"schemas": [USER_URN, "urn:example:Badge"], "urn:example:Badge": {"number": 7}, "shoeSize": 42}),
    );
    becomes(
        json!({"urn:example:Badge": {"number": 7}}),
        json!({"op": "replace", "path": "urn:example:badge:number", "value": 8}),
        json!({"schemas": [USER_URN, "urn:example:Badge"], "urn:example:Badge": {"number": 8}}),
    );
}

#[test]
fn core_attributes_may_be_named_with_their_urn() {
    let path = format!("{USER_URN}:name.givenName");
    becomes(
        json!({}),
        json!({"op": "add", "path": path, "value": "Bea"}),
        json!({"name": {"givenName": "Bea"}}),
    );
    let value = json!({USER_URN: {"title": "Boss"}, format!("{USER_URN}:active"): true});
    becomes(json!({}), json!({"op": "add", "value": value}), json!({"title": "Boss", "active": true}));
}

// --- members

#[test]
fn members_come_and_go() {
    let (a, b, c) = (json!({"value": "a"}), json!({"value": "b"}), json!({"value": "c"}));
    for (operation, after) in [
        (json!({"op": "add", "path": "members", "value": [c]}), json!([a, b, c])),
        (json!({"op": "add", "path": "members", "value": c}), json!([a, b, c])),
        (json!({"op": "add", "path": "members", "value": [a]}), json!([a, b])),
        (json!({"op": "add", "value": {"members": [c]}}), json!([a, b, c])),
        (json!({"op": "remove", "path": "members[value eq \"a\"]"}), json!([b])),
        (json!({"op": "remove", "path": "members[value eq \"x\"]"}), json!([a, b])),
        (json!({"op": "remove", "path": "members[value eq \"a\" or value eq \"b\"]"}), json!([])),
        (json!({"op": "remove", "path": "members", "value": [{"value": "a"}, {"value": "x"}]}), json!([b])),
        (json!({"op": "remove", "path": "members"}), json!([])),
        (json!({"op": "replace", "path": "members", "value": [c]}), json!([c])),
        (json!({"op": "replace", "path": "members", "value": []}), json!([])),
        (json!({"op": "replace", "value": {"members": [c, a]}}), json!([a, c])),
        (
            json!({"op": "replace", "path": "members[value eq \"a\"].display", "value": "Ana"}),
            json!([{"value": "a", "display": "Ana"}, b]),
        ),
        (
            json!({"op": "add", "path": "members[value eq \"a\"].type", "value": "User"}),
            json!([{"value": "a", "type": "User"}, b]),
        ),
    ] {
        group_becomes(json!([a, b]), operation, after);
    }
}

#[test]
fn what_identifies_a_member_is_immutable() {
    let group = json!({"displayName": "g", "members": [{"value": "a", "type": "User"}]});
    for operation in [
        json!({"op": "replace", "path": "members[value eq \"a\"].value", "value": "b"}),
        json!({"op": "add", "path": "members[value eq \"a\"].value", "value": "b"}),
        json!({"op": "add", "path": "members[value eq \"a\"].type", "value": "Group"}),
        json!({"op": "remove", "path": "members[value eq \"a\"].type"}),
        json!({"op": "replace", "path": "members[value eq \"a\"]", "value": {"value": "b"}}),
    ] {
        assert_eq!(refused(Kind::Group, group.clone(), operation.clone()).0, "mutability", "{operation}");
    }
}

#[test]
fn members_must_have_a_value_and_be_chosen_by_a_filter() {
    let group = json!({"displayName": "g"});
    for (operation, keyword) in [
        (json!({"op": "add", "path": "members", "value": ["a"]}), "invalidValue"),
        (json!({"op": "add", "path": "members", "value": [{"display": "a"}]}), "invalidValue"),
        (json!({"op": "replace", "path": "members[value eq \"x\"]", "value": {"value": "x"}}), "noTarget"),
        (json!({"op": "replace", "path": "members.display", "value": "x"}), "invalidPath"),
    ] {
        assert_eq!(refused(Kind::Group, group.clone(), operation.clone()).0, keyword, "{operation}");
    }
}
