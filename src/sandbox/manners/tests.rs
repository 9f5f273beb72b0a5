use scim_v2::filter::Filter;
use serde_json::{Value, json};

use super::*;
use crate::sandbox::answer::Answer;
use crate::sandbox::members::{Details, Members};
use crate::sandbox::provider::Write;
use crate::target::profile::shipped;

fn manners(text: &str) -> Manners {
    Manners::new(Profile::load("./own.toml", &|_| Ok(text.to_owned())).unwrap()).unwrap()
}

#[track_caller]
fn write(method: &str, kind: Kind, body: Value) -> Write {
    let target = (method != "POST").then_some("x");
    Write::read(method, kind, target, Some(body)).unwrap()
}

fn removal(path: &str, value: Value) -> Value {
    json!({"Operations": [{"op": "remove", "path": path, "value": value}]})
}

fn status(manners: &Manners, write: &Write) -> u16 {
    manners.admit(write, &Members::new()).map_or_else(|refusal| refusal.status, |()| 200)
}

#[test]
fn every_shipped_profile_can_be_played() {
    for name in shipped() {
        Manners::of(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn a_profile_whose_filter_is_none_is_refused() {
    let profile = Profile::load("./own.toml", &|_| Ok("[users]\nhidden = \"active is off\"\n".to_owned()));
    let error = Manners::new(profile.unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("the profile's users.hidden is no filter: 400"), "{error}");
}

#[test]
fn the_provider_is_below_its_own_path_and_below_that_of_the_sandbox() {
    let manners = manners("base_path = \"/realms/{realm}/scim/v2\"\n[users]\npath = \"/v1/people\"\n");
    let below = |path| manners.below(path).map(|it| (it.base, it.rest));
    assert_eq!(manners.base_path(), "/realms/realm/scim/v2");
    assert_eq!(below("/realms/x/scim/v2/Users/1"), Some(("/realms/x/scim/v2", "/Users/1")));
    assert_eq!(below("/scim/v2"), Some(("/scim/v2", "")));
    for path in ["/realms//scim/v2/Users", "/realms/x/scim/v2x", "/scim/v20", "/"] {
        assert_eq!(below(path), None, "{path}");
    }
    assert_eq!(manners.kind_of("v1/people/1"), Some((Kind::User, "/1")));
    assert_eq!((manners.kind_of("v1/peoples"), manners.kind_of("Users")), (None, None));
}

#[test]
fn methods_that_there_are_not_are_refused() {
    let manners = manners(
        "[users]\ndelete = false\nupdate = \"put\"\n[groups]\ncreate = false\nput = false\n[capabilities]\n",
    );
    let rename = json!({"Operations": [{"op": "replace", "path": "displayName", "value": "x"}]});
    for (method, kind, body, expected) in [
        ("POST", Kind::User, json!({}), 200),
        ("PUT", Kind::User, json!({}), 200),
        ("PATCH", Kind::User, rename.clone(), 501),
        ("DELETE", Kind::User, json!({}), 405),
        ("POST", Kind::Group, json!({}), 405),
        ("PUT", Kind::Group, json!({}), 405),
        ("PATCH", Kind::Group, rename, 200),
        ("DELETE", Kind::Group, json!({}), 200),
    ] {
        assert_eq!(status(&manners, &write(method, kind, body)), expected, "{method} {kind:?}");
    }
}

#[test]
fn members_are_counted_and_removed_in_one_way() {
    let by_filter = write("PATCH", Kind::Group, removal("members[value eq \"a\"]", Value::Null));
    let by_list = write("PATCH", Kind::Group, removal("members", json!([{"value": "a"}])));
    let all = write("PATCH", Kind::Group, removal("members", Value::Null));
    let replacing = json!({"Operations": [{"op": "replace", "value": {"displayName": "g", "members": [{"value": "a"}]}}]});
    let replacing = write("PATCH", Kind::Group, replacing);
    let of = |text: &str| {
        let manners = manners(text);
        [&by_filter, &by_list, &all, &replacing].map(|write| status(&manners, write))
    };
    assert_eq!(of(""), [200, 400, 200, 200]);
    assert_eq!(of("[members]\nremoval = \"values\"\n"), [400, 200, 200, 200]);
    assert_eq!(of("[members]\nremove_all = false\nreplace = false\n"), [200, 400, 400, 400]);
    assert_eq!(status(&Manners::default(), &by_list), 200, "without a profile either way does");
    let manners = manners("[limits]\nmembers_per_request = 2\n");
    let members = |count: usize| json!({"members": vec![json!({"value": "a"}); count]});
    let adding = |count: usize| json!({"Operations": [{"op": "add", "path": "members", "value": vec![json!({"value": "a"}); count]}]});
    for (count, expected) in [(2, 200), (3, 400)] {
        for (method, body) in [("POST", members(count)), ("PUT", members(count)), ("PATCH", adding(count))] {
            assert_eq!(status(&manners, &write(method, Kind::Group, body)), expected, "{method} {count}");
        }
    }
}

#[test]
fn a_put_is_counted_by_what_it_changes() {
    let manners = manners("[limits]\nmembers_per_request = 2\n");
    let before: Members = ["a", "b", "c"].into_iter().map(|id| (id.into(), Details::default())).collect();
    let put = |ids: &[&str]| {
        let members: Vec<Value> = ids.iter().map(|id| json!({ "value": id })).collect();
        manners.admit(&write("PUT", Kind::Group, json!({ "members": members })), &before).is_ok()
    };
    assert!(put(&["a", "b", "c"]) && put(&["a", "b", "c", "d", "e"]) && put(&["a", "b", "d"]));
    assert!(!put(&["a", "b", "d", "e"]) && !put(&[]));
}

fn filter(text: &str) -> Filter {
    filter::parse(text, &[Kind::User]).unwrap()
}

#[test]
fn filters_are_as_large_and_about_what_the_profile_allows() {
    let manners = manners(
        "[limits]\nfilter_terms = 2\nfilter_length = 60\n[users]\nfilterable = [\"externalId\"]\nhidden = \"active eq false\"\n",
    );
    let is_taken = |text: &str| manners.check_filter(text, &filter(text), &[Kind::User]).is_ok();
    assert!(is_taken("externalId eq \"a\" or externalId eq \"b\""));
    assert!(is_taken("(externalId eq \"a\") and (active eq false)"));
    assert!(!is_taken("externalId eq \"a\" or externalId eq \"b\" or externalId eq \"c\""));
    assert!(!is_taken("userName eq \"a\""));
    assert!(!is_taken(&format!("externalId eq \"{}\"", "a".repeat(60))));
}

#[test]
fn what_is_hidden_is_shown_to_who_speaks_of_it() {
    let manners = manners("[users]\nhidden = \"active eq false\"\n");
    assert!(manners.unasked(Kind::User, None).is_some());
    assert!(manners.unasked(Kind::User, Some(&filter("userName eq \"a\""))).is_some());
    assert!(manners.unasked(Kind::User, Some(&filter("userName eq \"a\" and active eq false"))).is_none());
    assert!(manners.unasked(Kind::Group, None).is_none());
}

#[test]
fn what_the_provider_has_not_no_fault_brings() {
    let manners = manners(
        "[capabilities]\netag = false\nbulk = true\n[limits]\noperations = 5\n[answers]\nretry_after = \"body\"\n",
    );
    let asked = Faults { bulk: false, max_operations: 9, ..Faults::default() };
    let faults = manners.effective(&asked);
    assert_eq!((faults.etag, faults.bulk, faults.max_operations), (false, false, 5));
    assert_eq!(faults.retry_after_form, RetryAfterForm::Body);
    assert_eq!(Manners::default().effective(&asked), asked);
}

#[test]
fn errors_have_the_provider_s_form() {
    let stale = |shape: &str| {
        let manners = manners(&format!("[answers]\nconflict = \"{shape}\"\n"));
        let body = manners.told(Refusal::stale()).body();
        (body["status"].clone(), body["scimType"].clone())
    };
    assert_eq!(stale("412"), (json!("412"), Value::Null));
    assert_eq!(stale("409"), (json!("409"), Value::Null));
    assert_eq!(stale("invalidVers"), (json!("400"), json!("invalidVers")));
    let missing = || Answer::from(Refusal::not_found("it"));
    let dressed = |text: &str| manners(text).dress(missing()).body.unwrap();
    assert_eq!(
        dressed("[answers]\nerror = \"code-message\"\n"),
        json!({"code": 404, "message": "it not found"})
    );
    assert_eq!(dressed("[answers]\nerror = \"schema-too\"\n")["schema"], dressed("")["schemas"]);
    let typed = manners("[http]\ncontent_type = \"application/json\"\n");
    assert_eq!(typed.dress(missing()).headers, [("content-type", "application/json".to_owned())]);
    assert_eq!(typed.check_media_type(Some("Application/JSON; charset=utf-8")), Ok(()));
    assert_eq!(typed.check_media_type(Some("application/scim+json")).unwrap_err().status, 415);
}
