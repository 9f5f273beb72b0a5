//! Add, remove, replace, and primary values, on attributes of the core schema.

use serde_json::{Value, json};

use super::{becomes, full_user, holding, map, patch, refused};
use crate::sandbox::faults::Faults;
use crate::sandbox::schema::{ENTERPRISE_URN, Kind};

// --- add (s3.5.2.1)

#[test]
fn add_sets_a_single_value_whether_or_not_it_was_there() {
    for before in [json!({}), json!({"title": "Clerk"})] {
        becomes(before, json!({"op": "add", "path": "title", "value": "Boss"}), json!({"title": "Boss"}));
    }
}

#[test]
fn add_to_a_complex_attribute_keeps_its_other_parts() {
    let add = json!({"op": "add", "path": "name", "value": {"givenName": "Bea"}});
    becomes(
        json!({"name": {"givenName": "Ana", "familyName": "Lee"}}),
        add.clone(),
        json!({"name": {"givenName": "Bea", "familyName": "Lee"}}),
    );
    becomes(json!({}), add, json!({"name": {"givenName": "Bea"}}));
}

#[test]
fn add_sets_a_sub_attribute() {
    let add = json!({"op": "add", "path": "name.givenName", "value": "Bea"});
    becomes(
        json!({"name": {"familyName": "Lee"}}),
        add.clone(),
        json!({"name": {"givenName": "Bea", "familyName": "Lee"}}),
    );
    becomes(json!({}), add, json!({"name": {"givenName": "Bea"}}));
}

#[test]
fn add_appends_to_a_list_what_is_not_there_yet() {
    let (work, home) =
        (json!({"value": "a@work", "type": "work"}), json!({"value": "a@home", "type": "home"}));
    for value in [json!([home]), json!(home), json!([work, home]), json!([home, home])] {
        let add = json!({"op": "add", "path": "emails", "value": value});
        becomes(json!({"emails": [work]}), add, json!({"emails": [work, home]}));
    }
    becomes(json!({}), json!({"op": "add", "path": "emails", "value": home}), json!({"emails": [home]}));
    becomes(json!({}), json!({"op": "add", "path": "emails", "value": []}), json!({}));
}

#[test]
fn add_of_the_same_value_and_type_completes_the_element() {
    becomes(
        json!({"emails": [{"value": "a@work", "type": "work", "display": "Ana"}]}),
        json!({"op": "add", "path": "emails", "value": [{"Value": "a@work", "TYPE": "work", "display": "A."}]}),
        json!({"emails": [{"value": "a@work", "type": "work", "display": "A."}]}),
    );
    becomes(
        json!({"emails": [{"value": "a@b", "type": "work"}]}),
        json!({"op": "add", "path": "emails", "value": [{"value": "a@b", "type": "home"}]}),
        json!({"emails": [{"value": "a@b", "type": "work"}, {"value": "a@b", "type": "home"}]}),
    );
}

#[test]
fn add_without_a_path_adds_each_attribute() {
    becomes(
        json!({"nickName": "An", "emails": [{"value": "a@work", "type": "work"}]}),
        json!({"op": "add", "value": {
            "nickname": "Babs", "emails": [{"value": "a@home", "type": "home"}], "name.familyName": "Lee",
        }}),
        json!({"nickName": "Babs", "name": {"familyName": "Lee"},
            "emails": [{"value": "a@work", "type": "work"}, {"value": "a@home", "type": "home"}]}),
    );
}

#[test]
fn add_with_a_filter_changes_what_matches_or_creates_what_it_describes() {
    let add = json!({"op": "add", "path": "emails[type eq \"work\"].value", "value": "b@work"});
    becomes(
        json!({"emails": [{"value": "a@work", "type": "work"}]}),
        add.clone(),
        json!({"emails": [{"value": "b@work", "type": "work"}]}),
    );
    becomes(json!({}), add, json!({"emails": [{"value": "b@work", "type": "work"}]}));
    becomes(
        json!({}),
        json!({"op": "add", "path": "emails[type eq \"work\" and primary eq true]", "value": {"value": "b@work"}}),
        json!({"emails": [{"value": "b@work", "type": "work", "primary": true}]}),
    );
    let vague = json!({"op": "add", "path": "emails[type ne \"work\"].value", "value": "x"});
    assert_eq!(refused(Kind::User, json!({"userName": "ana"}), vague).0, "noTarget");
}

#[test]
fn add_with_a_filter_keeps_the_other_parts_of_what_matches() {
    becomes(
        json!({"emails": [{"value": "a@work", "type": "work"}]}),
        json!({"op": "add", "path": "emails[type eq \"work\"]", "value": [{"display": "Ana"}]}),
        json!({"emails": [{"value": "a@work", "type": "work", "display": "Ana"}]}),
    );
}

// --- remove (s3.5.2.2)

#[test]
fn remove_unassigns_what_the_path_names() {
    for (path, gone) in [
        ("title", json!({"title": null})),
        ("NAME.GivenName", json!({"name": {"familyName": "Lee"}})),
        ("name", json!({"name": null})),
        ("emails", json!({"emails": null})),
        ("emails[type eq \"work\"]", json!({"emails": [{"value": "a@home", "type": "home"}]})),
        (
            "emails[type eq \"work\" and value ew \"work\"]",
            json!({"emails": [{"value": "a@home", "type": "home"}]}),
        ),
        ("emails[value co \"@\"]", json!({"emails": null})),
        (
            "emails[type eq \"work\"].primary",
            json!({"emails": [
            {"value": "a@work", "type": "work"}, {"value": "a@home", "type": "home"}]}),
        ),
        ("emails.type", json!({"emails": [{"value": "a@work", "primary": true}, {"value": "a@home"}]})),
    ] {
        let mut after = map(full_user());
        after.extend(map(gone));
        after.retain(|_, value| !value.is_null());
        becomes(full_user(), json!({"op": "remove", "path": path}), Value::Object(after));
    }
}

#[test]
fn what_has_nothing_left_is_unassigned_as_a_whole() {
    becomes(
        json!({"name": {"givenName": "Ana"}}),
        json!({"op": "remove", "path": "name.givenName"}),
        json!({}),
    );
    becomes(
        json!({"emails": [{"type": "work"}]}),
        json!({"op": "remove", "path": "emails[type eq \"work\"].type"}),
        json!({}),
    );
}

#[test]
fn remove_with_values_takes_only_these_out_of_the_list() {
    becomes(
        json!({"emails": [{"value": "a@work", "type": "work"}, {"value": "a@home", "type": "home"}]}),
        json!({"op": "remove", "path": "emails", "value": [{"value": "a@work"}]}),
        json!({"emails": [{"value": "a@home", "type": "home"}]}),
    );
}

#[test]
fn removing_what_is_not_there_succeeds_unless_the_provider_is_strict() {
    let strict = Faults { refuse_missing_removals: true, ..Faults::default() };
    for path in
        ["title", "name.givenName", "emails[type eq \"work\"]", &format!("{ENTERPRISE_URN}:department")]
    {
        let remove = json!({"op": "remove", "path": path});
        becomes(json!({}), remove.clone(), json!({}));
        let mut directory = holding(Kind::User, json!({"userName": "ana"}));
        let refusal = patch(&mut directory, Kind::User, &json!([remove]), &strict).unwrap_err();
        assert_eq!(refusal.body()["scimType"], "noTarget", "{path}");
    }
}

#[test]
fn remove_without_a_path_has_no_target() {
    assert_eq!(refused(Kind::User, full_user(), json!({"op": "remove"})).0, "noTarget");
}

// --- replace (s3.5.2.3)

#[test]
fn replace_sets_a_value_whether_or_not_it_was_there() {
    for (before, operation, after) in [
        (json!({"title": "Clerk"}), json!({"path": "title", "value": "Boss"}), json!({"title": "Boss"})),
        (json!({}), json!({"path": "title", "value": "Boss"}), json!({"title": "Boss"})),
        (json!({"active": true}), json!({"path": "active", "value": false}), json!({"active": false})),
        (
            json!({"name": {"givenName": "Ana", "familyName": "Lee"}}),
            json!({"path": "name", "value": {"givenName": "Bea"}}),
            json!({"name": {"givenName": "Bea", "familyName": "Lee"}}),
        ),
        (
            json!({"emails": [{"value": "a@work", "type": "work"}, {"value": "a@home"}]}),
            json!({"path": "emails", "value": [{"value": "b@work"}]}),
            json!({"emails": [{"value": "b@work"}]}),
        ),
        (json!({}), json!({"path": "emails", "value": {"value": "b"}}), json!({"emails": [{"value": "b"}]})),
    ] {
        let mut replace = operation;
        replace["op"] = "replace".into();
        becomes(before, replace, after);
    }
}

#[test]
fn replace_with_nothing_unassigns() {
    for (path, value) in [("title", json!(null)), ("emails", json!(null)), ("emails", json!([]))] {
        let mut after = map(full_user());
        after.remove(path);
        becomes(full_user(), json!({"op": "replace", "path": path, "value": value}), Value::Object(after));
    }
    becomes(
        json!({"name": {"givenName": "Ana", "familyName": "Lee"}}),
        json!({"op": "replace", "path": "name.givenName", "value": null}),
        json!({"name": {"familyName": "Lee"}}),
    );
}

#[test]
fn replace_with_a_filter_replaces_all_that_match_as_a_whole() {
    becomes(
        json!({"addresses": [
            {"type": "work", "locality": "Bern", "region": "BE"}, {"type": "work", "locality": "Thun"}, {"type": "home"}]}),
        json!({"op": "replace", "path": "addresses[type eq \"work\"]", "value": {"type": "work", "locality": "Basel"}}),
        json!({"addresses": [
            {"type": "work", "locality": "Basel"}, {"type": "work", "locality": "Basel"}, {"type": "home"}]}),
    );
    becomes(
        json!({"addresses": [{"type": "work", "locality": "Bern", "region": "BE"}]}),
        json!({"op": "replace", "path": "addresses[type eq \"work\"].locality", "value": "Thun"}),
        json!({"addresses": [{"type": "work", "locality": "Thun", "region": "BE"}]}),
    );
}

#[test]
fn replace_where_nothing_matches_has_no_target() {
    for path in
        ["emails[type eq \"other\"]", "emails[type eq \"other\"].value", "photos[type eq \"x\"].value"]
    {
        let replace = json!({"op": "replace", "path": path, "value": "x"});
        assert_eq!(refused(Kind::User, full_user(), replace).0, "noTarget", "{path}");
    }
}

#[test]
fn replace_without_a_path_replaces_only_what_it_names() {
    becomes(
        full_user(),
        json!({"op": "replace", "value": {"emails": [{"value": "b@work"}], "nickname": "Babs"}}),
        json!({"title": "Clerk", "name": {"givenName": "Ana", "familyName": "Lee"}, "nickName": "Babs",
            "emails": [{"value": "b@work"}]}),
    );
}

// --- primary (s3.5.2)

#[test]
fn a_new_primary_value_ends_the_old_one() {
    let (work, home) = (json!({"value": "w", "primary": true}), json!({"value": "h"}));
    let after = json!({"emails": [{"value": "w", "primary": false}, {"value": "h", "primary": true}]});
    for operation in [
        json!({"op": "add", "path": "emails[value eq \"h\"].primary", "value": true}),
        json!({"op": "replace", "path": "emails[value eq \"h\"].Primary", "value": true}),
        json!({"op": "replace", "path": "emails[value eq \"h\"]", "value": {"value": "h", "primary": true}}),
        json!({"op": "add", "path": "emails", "value": [{"value": "h", "PRIMARY": true}]}),
        json!({"op": "add", "value": {"emails": {"value": "h", "primary": true}}}),
    ] {
        becomes(json!({"emails": [work, home]}), operation, after.clone());
    }
}

#[test]
fn a_list_with_two_primary_values_is_invalid() {
    let two = json!([{"value": "a", "primary": true}, {"value": "b", "primary": true}]);
    let replace = json!({"op": "replace", "path": "emails", "value": two});
    assert_eq!(refused(Kind::User, full_user(), replace).0, "invalidValue");
}
