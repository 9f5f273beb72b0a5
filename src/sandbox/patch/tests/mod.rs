mod operations;
mod places;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::parse;
use super::request::PATCH_URN;
use crate::sandbox::directory::{Directory, Terms};
use crate::sandbox::error::Refusal;
use crate::sandbox::faults::Faults;
use crate::sandbox::manners::Manners;
use crate::sandbox::schema::{ENTERPRISE_URN, GROUP_URN, Kind, USER_URN};
use crate::sandbox::view::{Projection, View};

fn map(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else { panic!("{value} is no object") };
    map
}

fn terms(faults: &Faults) -> Terms<'static> {
    Terms { condition: None, policy: faults.policy(), now: Timestamp::UNIX_EPOCH }
}

/// The only resource of a directory; its id is `r`.
fn holding(kind: Kind, resource: Value) -> Directory {
    let mut directory = Directory::default();
    directory.create(kind, "r".into(), map(resource), terms(&Faults::default())).unwrap();
    directory
}

fn patch(directory: &mut Directory, kind: Kind, operations: &Value, faults: &Faults) -> Result<(), Refusal> {
    let operations = parse(json!({"schemas": [PATCH_URN], "Operations": operations}))?;
    directory.patch(kind, "r", &operations, terms(faults))
}

/// The resource without what every resource has.
fn shown(directory: &Directory, kind: Kind) -> Value {
    let view = View { directory, base: "", manners: &Manners::default(), etags: true, lists_members: true };
    let mut shown = map(view.show(directory.get(kind, "r").unwrap(), &Projection::Default));
    for name in ["id", "meta"] {
        shown.remove(name);
    }
    if shown["schemas"] == json!([kind.urn()]) {
        shown.remove("schemas");
    }
    Value::Object(shown)
}

fn patched(kind: Kind, resource: Value, operations: Value) -> Result<Value, Refusal> {
    let mut directory = holding(kind, resource);
    patch(&mut directory, kind, &operations, &Faults::default()).map(|()| shown(&directory, kind))
}

/// A user with these attributes beside the user name, after one operation.
#[track_caller]
fn becomes(before: Value, operation: Value, after: Value) {
    let with_name = |attributes: Value| {
        let mut user = map(attributes);
        user.entry("userName").or_insert_with(|| json!("ana"));
        Value::Object(user)
    };
    let result = patched(Kind::User, with_name(before), json!([operation]));
    assert_eq!(result, Ok(with_name(after)), "{operation}");
}

#[track_caller]
fn group_becomes(members: Value, operation: Value, after: Value) {
    let group = |members: Value| {
        let mut group = json!({"displayName": "g"});
        if members != json!([]) {
            group["members"] = members;
        }
        group
    };
    assert_eq!(patched(Kind::Group, group(members), json!([operation])), Ok(group(after)), "{operation}");
}

/// Keyword and detail of what is refused.
#[track_caller]
fn refused(kind: Kind, resource: Value, operation: Value) -> (String, String) {
    let refusal = patched(kind, resource, json!([operation])).unwrap_err();
    assert_eq!(refusal.status, 400, "{operation}");
    (refusal.body()["scimType"].as_str().unwrap_or_default().to_owned(), refusal.detail)
}

fn full_user() -> Value {
    json!({
        "userName": "ana", "title": "Clerk", "name": {"givenName": "Ana", "familyName": "Lee"},
        "emails": [{"value": "a@work", "type": "work", "primary": true}, {"value": "a@home", "type": "home"}],
    })
}

// --- what is refused

#[test]
fn the_provider_s_own_attributes_can_not_be_changed() {
    for path in ["id", "meta", "meta.version", "groups", "groups[value eq \"g\"]"] {
        for operation in
            [json!({"op": "replace", "path": path, "value": "x"}), json!({"op": "remove", "path": path})]
        {
            assert_eq!(refused(Kind::User, full_user(), operation.clone()).0, "mutability", "{operation}");
        }
    }
    let name = format!("{ENTERPRISE_URN}:manager.displayName");
    let add = json!({"op": "add", "path": name, "value": "M"});
    assert_eq!(refused(Kind::User, full_user(), add).0, "mutability");
    assert_eq!(refused(Kind::User, full_user(), json!({"op": "add", "value": {"id": "x"}})).0, "mutability");
}

#[test]
fn required_attributes_can_not_be_removed() {
    let remove = json!({"op": "remove", "path": "userName"});
    assert_eq!(refused(Kind::User, full_user(), remove).0, "mutability");
    let remove = json!({"op": "remove", "path": "DISPLAYNAME"});
    assert_eq!(refused(Kind::Group, json!({"displayName": "g"}), remove).0, "mutability");
    let replace = json!({"op": "replace", "path": "userName", "value": null});
    assert_eq!(refused(Kind::User, full_user(), replace).0, "invalidValue");
}

#[test]
fn paths_that_can_not_lead_anywhere_are_invalid() {
    for path in [
        "",
        "emails[",
        "emails[type eq]",
        "emails[type eq \"work\"].",
        "1st",
        "a.b.c",
        "title.x",
        "title[value eq \"x\"]",
        "name[givenName eq \"Ana\"]",
        "emails[type eq \"a\"] x",
    ] {
        for op in ["add", "remove", "replace"] {
            let operation = json!({"op": op, "path": path, "value": "x"});
            assert_eq!(refused(Kind::User, full_user(), operation).0, "invalidPath", "{op} {path}");
        }
    }
    let number = json!({"op": "add", "path": 7, "value": "x"});
    assert_eq!(refused(Kind::User, full_user(), number).0, "invalidPath");
}

#[test]
fn values_must_have_the_type_of_the_schema() {
    for operation in [
        json!({"op": "add", "path": "title"}),
        json!({"op": "replace", "path": "title"}),
        json!({"op": "add"}),
        json!({"op": "add", "value": "x"}),
        json!({"op": "replace", "path": "active", "value": "False"}),
        json!({"op": "replace", "path": "title", "value": 1}),
        json!({"op": "replace", "path": "name", "value": "Ana"}),
        json!({"op": "add", "path": "emails", "value": ["a@b"]}),
        json!({"op": "replace", "path": "emails[type eq \"work\"]", "value": [{"value": "a"}, {"value": "b"}]}),
        json!({"op": "add", "path": ENTERPRISE_URN, "value": "x"}),
        json!({"op": "replace", "path": "schemas", "value": [ENTERPRISE_URN]}),
    ] {
        assert_eq!(refused(Kind::User, full_user(), operation.clone()).0, "invalidValue", "{operation}");
    }
}

#[test]
fn a_message_that_is_no_patch_is_refused() {
    for body in [
        json!([]),
        json!({}),
        json!({"Operations": []}),
        json!({"Operations": {"op": "add"}}),
        json!({"Operations": ["add"]}),
        json!({"Operations": [{"path": "title", "value": "x"}]}),
        json!({"Operations": [{"op": "move", "path": "title"}]}),
        json!({"Operations": [{"op": 1, "path": "title"}]}),
        json!({"schemas": [GROUP_URN], "Operations": [{"op": "remove", "path": "title"}]}),
    ] {
        let refusal = parse(body.clone()).unwrap_err();
        assert_eq!((refusal.status, &refusal.body()["scimType"]), (400, &json!("invalidSyntax")), "{body}");
    }
}

// --- the request as a whole

#[test]
fn names_and_operations_are_read_in_any_case() {
    let operations = parse(json!({"SCHEMAS": [PATCH_URN.to_uppercase()],
        "operations": [{"OP": "Replace", "Path": "TITLE", "VALUE": "Boss"}]}));
    let mut directory = holding(Kind::User, full_user());
    directory.patch(Kind::User, "r", &operations.unwrap(), terms(&Faults::default())).unwrap();
    assert_eq!(shown(&directory, Kind::User)["title"], "Boss");
}

#[test]
fn each_operation_sees_what_those_before_it_did() {
    let after = patched(
        Kind::User,
        json!({"userName": "ana"}),
        json!([
            {"op": "add", "path": "emails", "value": [{"value": "a@work", "Type": "work"}]},
            {"op": "replace", "path": "emails[type eq \"work\"].value", "value": "b@work"},
            {"op": "add", "path": "urn:example:Badge:number", "value": 1},
            {"op": "replace", "path": "urn:example:Badge:number", "value": 2},
            {"op": "remove", "path": "emails[value eq \"a@work\"]"},
        ]),
    );
    assert_eq!(
        after,
        Ok(json!({"userName": "ana", "emails": [{"value": "b@work", "type": "work"}],
            "schemas": [USER_URN, "urn:example:Badge"], "urn:example:Badge": {"number": 2}}))
    );
}

#[test]
fn members_are_removed_and_added_in_one_request() {
    let after = patched(
        Kind::Group,
        json!({"displayName": "g", "members": [{"value": "a"}, {"value": "b"}]}),
        json!([{"op": "remove", "path": "members"}, {"op": "add", "path": "members", "value": [{"value": "b"}, {"value": "c"}]}]),
    );
    assert_eq!(after, Ok(json!({"displayName": "g", "members": [{"value": "b"}, {"value": "c"}]})));
}

#[test]
fn one_operation_that_fails_undoes_all() {
    for (kind, resource) in
        [(Kind::User, full_user()), (Kind::Group, json!({"displayName": "g", "members": [{"value": "a"}]}))]
    {
        let mut directory = holding(kind, resource);
        let before = (shown(&directory, kind), directory.get(kind, "r").unwrap().version);
        let operations = json!([
            {"op": "replace", "path": "displayName", "value": "other"},
            {"op": "add", "path": "members", "value": [{"value": "b"}]},
            {"op": "replace", "path": "emails[type eq \"none\"].value", "value": "x"},
        ]);
        patch(&mut directory, kind, &operations, &Faults::default()).unwrap_err();
        assert_eq!((shown(&directory, kind), directory.get(kind, "r").unwrap().version), before);
    }
}

#[test]
fn only_a_real_change_makes_a_new_version() {
    let versions = |kind: Kind, resource: Value, operation: Value| {
        let mut directory = holding(kind, resource);
        patch(&mut directory, kind, &json!([operation]), &Faults::default()).unwrap();
        directory.get(kind, "r").unwrap().version
    };
    let group = json!({"displayName": "g", "members": [{"value": "a", "display": "Ana"}]});
    for (kind, resource, operation, version) in [
        (Kind::User, full_user(), json!({"op": "replace", "path": "title", "value": "Clerk"}), 1),
        (Kind::User, full_user(), json!({"op": "add", "path": "emails", "value": [{"value": "a@home"}]}), 1),
        (Kind::User, full_user(), json!({"op": "remove", "path": "nickName"}), 1),
        (Kind::User, full_user(), json!({"op": "replace", "path": "title", "value": "Boss"}), 2),
        (Kind::Group, group.clone(), json!({"op": "add", "path": "members", "value": [{"value": "a"}]}), 1),
        (Kind::Group, group.clone(), json!({"op": "remove", "path": "members[value eq \"x\"]"}), 1),
        (Kind::Group, group, json!({"op": "remove", "path": "members[value eq \"a\"]"}), 2),
    ] {
        assert_eq!(versions(kind, resource, operation.clone()), version, "{operation}");
    }
}
