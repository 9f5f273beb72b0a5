use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Subject, candidates, matches, parse, parse_path};
use crate::sandbox::directory::{Directory, Terms};
use crate::sandbox::faults::Faults;
use crate::sandbox::manners::Manners;
use crate::sandbox::schema::{ENTERPRISE_URN, GROUP_URN, Kind, USER_URN};
use crate::sandbox::view::View;

/// A directory with these resources; the first has the id `r0`.
fn holding(kind: Kind, resources: &[Value]) -> Directory {
    let mut directory = Directory::default();
    let now = "2024-05-01T10:00:00Z".parse::<Timestamp>().unwrap();
    for (at, resource) in resources.iter().enumerate() {
        let Value::Object(body) = resource.clone() else { panic!("{resource} is no object") };
        let terms = Terms { condition: None, policy: Faults::default().policy(), now };
        directory.create(kind, format!("r{at}").into(), body, terms).unwrap();
    }
    directory
}

fn ana() -> Value {
    json!({
        "userName": "Ana", "externalId": "E-1", "title": "", "active": true, "nickName": "say \"hi\" \\ ü",
        "name": {"givenName": "Ana Maria", "familyName": "Lee"},
        "emails": [{"value": "ana@work.example", "type": "work", "primary": true}, {"value": "ana@home.example", "type": "home"}],
        "roles": [{"value": "clerk"}],
        "shoeSize": 42,
        ENTERPRISE_URN: {"department": "Research", "manager": {"value": "M-1"}},
        "urn:example:Badge": {"number": 7},
    })
}

fn passes(directory: &Directory, kind: Kind, filter: &str) -> bool {
    let filter = parse(filter, &[kind]).unwrap_or_else(|refusal| panic!("{filter}: {refusal}"));
    let view =
        View { directory, base: "http://x", manners: &Manners::default(), etags: true, lists_members: true };
    let resource = directory.get(kind, "r0").unwrap();
    matches(&filter, &Subject { resource, view })
}

#[track_caller]
fn all(kind: Kind, resource: Value, filters: &[(&str, bool)]) {
    let directory = holding(kind, &[resource]);
    for (filter, expected) in filters {
        assert_eq!(passes(&directory, kind, filter), *expected, "{filter}");
    }
}

#[test]
fn every_operator_compares_text() {
    all(
        Kind::User,
        ana(),
        &[
            (r#"userName eq "ana""#, true),
            (r#"userName eq "an""#, false),
            (r#"userName ne "ana""#, false),
            (r#"userName ne "bea""#, true),
            (r#"userName co "N""#, true),
            (r#"userName co "x""#, false),
            (r#"userName sw "AN""#, true),
            (r#"userName sw "na""#, false),
            (r#"userName ew "NA""#, true),
            (r#"userName ew "an""#, false),
            (r#"userName gt "amy""#, true),
            (r#"userName gt "ana""#, false),
            (r#"userName ge "ana""#, true),
            (r#"userName ge "anb""#, false),
            (r#"userName lt "anb""#, true),
            (r#"userName lt "ana""#, false),
            (r#"userName le "ana""#, true),
            (r#"userName le "amy""#, false),
            ("userName pr", true),
        ],
    );
}

#[test]
fn numbers_and_booleans_compare_as_such() {
    all(
        Kind::User,
        ana(),
        &[
            ("shoeSize eq 42", true),
            ("shoeSize eq 42.0", true),
            ("shoeSize ne 41", true),
            ("shoeSize gt 41.5", true),
            ("shoeSize lt -1", false),
            ("shoeSize ge 42", true),
            ("shoeSize le 41", false),
            (r#"shoeSize eq "42""#, false),
            ("active eq true", true),
            ("active eq false", false),
            ("active ne false", true),
            (r#"active eq "true""#, false),
        ],
    );
}

#[test]
fn instants_compare_as_instants() {
    all(
        Kind::User,
        ana(),
        &[
            (r#"meta.created eq "2024-05-01T12:00:00+02:00""#, true),
            (r#"meta.lastModified gt "2024-05-01T09:59:59.9Z""#, true),
            (r#"meta.lastModified lt "2024-05-01T11:00:00+02:00""#, false),
            (
                r#"meta.lastModified ge "2024-05-01T10:00:00Z" and meta.created le "2024-05-01T10:00:00Z""#,
                true,
            ),
        ],
    );
}

#[test]
fn case_matters_only_where_the_schema_says_so() {
    all(
        Kind::User,
        ana(),
        &[
            (r#"USERNAME EQ "ANA""#, true),
            (r#"NAME.FAMILYNAME Sw "LEE""#, true),
            (r#"externalId eq "E-1""#, true),
            (r#"externalId eq "e-1""#, false),
            (r#"id eq "r0""#, true),
            (r#"id eq "R0""#, false),
            (r#"externalid co "e""#, false),
        ],
    );
}

#[test]
fn what_is_empty_or_absent_is_not_present() {
    all(
        Kind::User,
        ana(),
        &[
            ("title pr", false),
            ("displayName pr", false),
            ("emails pr", true),
            ("phoneNumbers pr", false),
            ("name pr", true),
            ("name.middleName pr", false),
            ("emails.display pr", false),
            ("meta.version pr", true),
            ("unknown pr", false),
            ("displayName eq null", true),
            ("userName eq null", false),
            ("userName ne null", true),
            (r#"displayName eq "x""#, false),
            (r#"displayName ne "x""#, true),
            (r#"displayName gt "x""#, false),
            (r#"displayName co "x""#, false),
        ],
    );
}

#[test]
fn one_value_of_many_is_enough() {
    all(
        Kind::User,
        ana(),
        &[
            (r#"emails eq "ana@home.example""#, true),
            (r#"emails.value ew "work.example""#, true),
            (r#"emails.type eq "home""#, true),
            (r#"emails.type eq "other""#, false),
            (r#"emails.type ne "other""#, true),
            (r#"emails.type ne "home""#, false),
            ("emails.primary eq true", true),
            (r#"roles eq "CLERK""#, true),
            (&format!(r#"schemas eq "{ENTERPRISE_URN}""#), true),
        ],
    );
}

#[test]
fn brackets_hold_a_filter_for_one_and_the_same_value() {
    all(
        Kind::User,
        ana(),
        &[
            (r#"emails[type eq "work" and value co "work"]"#, true),
            (r#"emails[type eq "work" and value co "home"]"#, false),
            (r#"emails.type eq "work" and emails.value co "home""#, true),
            (r#"emails[type eq "home" and not (primary eq true)]"#, true),
            (r#"emails[not(type eq "home" or type eq "work")]"#, false),
            (r#"emails[display pr or value ew "example"]"#, true),
            (r#"emails[TYPE EQ "WORK"]"#, true),
            (r#"userName eq "x" or emails[type eq "work" and (value co "x" or primary eq true)]"#, true),
            (r#"not (emails[type eq "other"])"#, true),
            (r#"phoneNumbers[type ne "work"]"#, false),
            (r#"name[familyName eq "lee"]"#, true),
        ],
    );
}

#[test]
fn not_comes_before_and_and_and_before_or() {
    let (yes, no) = (r#"userName eq "ana""#, r#"userName eq "x""#);
    let directory = holding(Kind::User, &[ana()]);
    for (filter, expected) in [
        (format!("{yes} or {yes} and {no}"), true),
        (format!("({yes} or {yes}) and {no}"), false),
        (format!("{no} and {no} or {yes}"), true),
        (format!("{no} and ({no} or {yes})"), false),
        (format!("not ({no}) and {no}"), false),
        (format!("not ({no} and {no})"), true),
        (format!("not({yes}) or {yes}"), true),
        (format!("NOT ({no}) AND {yes} OR {no}"), true),
        (format!("not (not ({yes}))"), true),
        (format!("(({yes}))"), true),
    ] {
        assert_eq!(passes(&directory, Kind::User, &filter), expected, "{filter}");
    }
}

#[test]
fn names_may_carry_the_urn_of_their_schema() {
    all(
        Kind::User,
        ana(),
        &[
            (&format!(r#"{USER_URN}:userName eq "ana""#), true),
            (&format!(r#"{USER_URN}:name.familyName eq "lee""#), true),
            (&format!(r#"{ENTERPRISE_URN}:department eq "research""#), true),
            (&format!(r#"{}:DEPARTMENT eq "research""#, ENTERPRISE_URN.to_uppercase()), true),
            (&format!(r#"{ENTERPRISE_URN}:manager.value eq "M-1""#), true),
            (&format!(r#"{ENTERPRISE_URN}:manager.value eq "m-1""#), false),
            (&format!("{ENTERPRISE_URN}:division pr"), false),
            ("urn:example:Badge:number eq 7", true),
            ("urn:example:Badge pr", true),
            (r#"department eq "Research""#, false),
        ],
    );
}

#[test]
fn text_is_written_as_json() {
    all(
        Kind::User,
        ana(),
        &[
            (r#"nickName eq "say \"hi\" \\ \u00fc""#, true),
            (r#"nickName ew "Ü""#, true),
            (r#"nickName co "not(""#, false),
            (r#"nickName co " and " or nickName co "hi""#, true),
        ],
    );
}

#[test]
fn members_are_found_by_id() {
    let group = json!({"displayName": "g", "members": [{"value": "a", "display": "Ana"}, {"value": "b"}]});
    all(
        Kind::Group,
        group,
        &[
            (r#"members[value eq "a"]"#, true),
            (r#"members.value eq "a""#, true),
            (r#"members eq "b""#, true),
            (r#"members eq "A""#, false),
            (r#"members[value eq "x"]"#, false),
            (r#"members[value eq "a" and display eq "ana"]"#, true),
            (r#"members[value eq "b" and display pr]"#, false),
            (&format!(r#"{GROUP_URN}:members.value eq "b""#), true),
        ],
    );
}

#[test]
fn what_is_no_filter_is_refused() {
    for text in [
        "",
        "userName",
        "userName eq",
        "userName eq ana",
        "userName eq 'ana'",
        r#"userName is "ana""#,
        r#"eq "ana""#,
        r#"userName eq "ana" and"#,
        r#"userName eq "ana" xor active eq true"#,
        r#"(userName eq "ana""#,
        r#"userName eq "ana")"#,
        r#"not userName eq "ana""#,
        r#"emails[type eq "work""#,
        r#"emails[type eq "work" and phoneNumbers[type eq "x"]]"#,
        r#"emails[]"#,
        r#"1st eq "x""#,
        r#"a.b.c eq "x""#,
        r#"userName eq "ana"#,
        r#"userName eq "\x""#,
        &format!("{}userName pr{}", "(".repeat(10_000), ")".repeat(10_000)),
    ] {
        let refusal = parse(text, &Kind::ALL).unwrap_err();
        let start: String = text.chars().take(60).collect();
        assert_eq!((refusal.status, &refusal.body()["scimType"]), (400, &json!("invalidFilter")), "{start}");
    }
}

#[test]
fn booleans_and_binary_data_have_no_order() {
    for text in [
        "active gt false",
        "active le true",
        r#"active gt "false""#,
        "unknown lt true",
        r#"emails.primary ge "x""#,
        "emails[primary lt true]",
        r#"emails[primary gt "x"]"#,
        r#"x509Certificates gt "MII""#,
        r#"x509Certificates.value lt "MII""#,
        r#"userName pr and not (active ge true)"#,
    ] {
        let refusal = parse(text, &[Kind::User]).unwrap_err();
        assert_eq!((refusal.status, &refusal.body()["scimType"]), (400, &json!("invalidFilter")), "{text}");
    }
    assert!(parse(r#"x509Certificates eq "MII""#, &[Kind::User]).is_ok());
    assert!(parse(r#"active gt "x""#, &[Kind::Group]).is_ok(), "groups have no such attribute");
}

#[test]
fn an_index_narrows_what_must_be_looked_at() {
    let named = |name: &str, external: &str| json!({"userName": name, "externalId": external});
    let directory = holding(Kind::User, &[named("ana", "1"), named("bea", "1"), named("cem", "2")]);
    let places = |text: &str| {
        let filter = parse(text, &[Kind::User]).unwrap();
        candidates(&filter, Kind::User, directory.collection(Kind::User)).map(|it| it.len())
    };
    for (text, expected) in [
        (r#"userName eq "ANA""#, Some(1)),
        (r#"userName eq "nobody""#, Some(0)),
        (r#"externalId eq "1""#, Some(2)),
        (r#"id eq "r2""#, Some(1)),
        (r#"externalId eq "1" or userName eq "cem""#, Some(3)),
        (r#"active eq true and externalId eq "1""#, Some(2)),
        (r#"active eq true or externalId eq "1""#, None),
        (r#"not (userName eq "ana")"#, None),
        (r#"userName sw "a""#, None),
        ("userName pr", None),
    ] {
        assert_eq!(places(text), expected, "{text}");
    }
}

#[test]
fn paths_are_attributes_with_or_without_a_filter() {
    for text in [
        "members",
        "name.familyName",
        r#"addresses[type eq "work"]"#,
        r#"members[value eq "2819c223-7f76-453a-919d-413861904646"].displayName"#,
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber",
        r#"emails[not(type eq "work")]"#,
    ] {
        assert!(parse_path(text).is_ok(), "{text}");
    }
    for text in ["", ".", "a.", "[type eq \"x\"]", "emails[type eq \"x\"]value", "emails [type"] {
        assert_eq!(parse_path(text).unwrap_err().body()["scimType"], "invalidPath", "{text}");
    }
}
