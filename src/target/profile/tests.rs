use std::io;

use super::*;

fn nothing(path: &str) -> io::Result<String> {
    Err(io::Error::new(io::ErrorKind::NotFound, format!("no {path}")))
}

fn from_text(text: &str) -> Result<Profile, ProfileError> {
    Profile::load("./own.toml", &|_| Ok(text.to_owned()))
}

#[track_caller]
fn read(text: &str) -> Profile {
    from_text(text).unwrap_or_else(|error| panic!("{error}"))
}

fn problems(text: &str) -> String {
    from_text(text).unwrap_err().to_string()
}

#[test]
fn every_shipped_profile_is_good_and_says_where_it_comes_from() {
    for name in shipped() {
        let profile = Profile::load(name, &nothing).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(profile.name, name);
        assert!(!profile.source.is_empty(), "{name}");
        let (limits, rates) = (&profile.limits, &profile.rates);
        for (key, is_set) in [
            ("limits.operations", limits.operations.is_some()),
            ("limits.bytes", limits.bytes.is_some()),
            ("limits.members_per_request", limits.members_per_request.is_some()),
            ("limits.page_size", limits.page_size.is_some()),
            ("limits.filter_terms", limits.filter_terms.is_some()),
            ("limits.filter_length", limits.filter_length.is_some()),
            ("rates.requests", rates.requests.is_some()),
            ("rates.operations", rates.operations.is_some()),
            ("rates.burst", rates.burst.is_some()),
        ] {
            assert!(!is_set || profile.sources.contains_key(key), "{name} names no source of {key}");
        }
    }
}

#[test]
fn what_has_a_contract_test_is_verified() {
    let verified = shipped().filter(|name| Profile::load(name, &nothing).unwrap().verified);
    let tested =
        ["generic", "nice-cxone", "genesys-cloud", "aws-identity-center", "keycloak", "scim2-server"];
    assert_eq!(verified.collect::<Vec<_>>(), tested, "those of tests/it/profile_contract");
}

#[test]
fn generic_is_by_the_book() {
    let generic = Profile::load("generic", &nothing).unwrap();
    assert_eq!(generic.dialect(), Dialect::default());
    let plain = Profile {
        name: generic.name.clone(),
        source: generic.source.clone(),
        verified: true,
        ..Profile::default()
    };
    assert_eq!(generic, plain);
}

#[test]
fn an_empty_file_is_generic_but_not_verified() {
    let profile = read("");
    assert_eq!(profile.dialect(), Dialect::default());
    assert!(!profile.verified);
}

#[test]
fn an_unknown_name_is_answered_with_those_there_are() {
    let error = Profile::load("okta", &nothing).unwrap_err().to_string();
    assert!(error.starts_with("`okta` is no shipped profile: these are generic, nice-cxone, "), "{error}");
    assert!(error.ends_with(r#"such as "./okta.toml""#), "{error}");
}

#[test]
fn a_file_that_is_missing_is_named() {
    for path in ["./own.toml", "own.toml", "/etc/own"] {
        let error = Profile::load(path, &nothing).unwrap_err().to_string();
        assert_eq!(error, format!("the profile `{path}` can't be read: no {path}"));
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_its_line() {
    let text = "verified = 1\n\n[limits]\noperations = 0\nmembers = 5\n\n[users]\nupdate = \"post\"\nmatching = [\"name\"]\n[colour]\nred = 1\n";
    insta::assert_snapshot!(problems(text), @r#"
    the profile `./own.toml` has 6 problems
        line 1, verified: invalid type: integer `1`, expected a boolean
        line 4, limits.operations: invalid value: integer `0`, expected a nonzero usize
        line 5, limits.members: unknown field `members`, expected one of `operations`, `bytes`, `members_per_request`, `page_size`, `filter_terms`, `filter_length`
        line 8, users.update: unknown variant `post`, expected `patch` or `put`
        line 9, users.matching: unknown variant `name`, expected one of `externalId`, `userName`, `displayName`, `emails.value`
        line 11, colour.red: unknown field `colour`, expected one of `verified`, `source`, `base_path`, `http`, `discovery`, `capabilities`, `bulk`, `limits`, `rates`, `users`, `groups`, `members`, `answers`, `sources`
    "#);
}

#[test]
fn what_contradicts_itself_is_told_with_its_line() {
    let text = "base_path = \"scim\"\n[rates]\nrequests = \"fast\"\n[groups]\ncreate = false\nrefuses_existing = true\n\
                matching = []\nhidden = \" \"\nput = false\nupdate = \"put\"\nsoft_delete = true\ndelete = false\n[http]\naccept = \"a\\nb\"\n[sources]\n\"limits.bytes\" = \"x\"\n\"rates.requests\" = \"y\"\n";
    insta::assert_snapshot!(problems(text), @r#"
    the profile `./own.toml` has 9 problems
        line 1, base_path: must be a path such as "/Users": a slash, then letters, digits, `-`, `_`, `.`, `/`
        line 3, rates.requests: must be a rate such as "10/s", "180/m" or "1000/h"
        line 6, groups.refuses_existing: means nothing with create = false
        line 7, groups.matching: must name at least one attribute, and none twice
        line 8, groups.hidden: must be a filter such as "active eq false"
        line 9, groups.put: contradicts update = "put"
        line 11, groups.soft_delete: means nothing with delete = false
        line 14, http.accept: must be a text that a header can carry
        line 16, sources.limits.bytes: is the source of a key that this profile does not set
    "#);
}

#[test]
fn what_is_no_toml_is_told_with_its_line() {
    insta::assert_snapshot!(problems("verified = true\n[limits\n"), @r#"
    the profile `./own.toml` has 1 problem
        line 2: is not TOML: unclosed table, expected `]`
    "#);
}

#[test]
fn limits_are_the_least_of_profile_and_target() {
    let profile = read("[limits]\noperations = 100\nbytes = 5000\n");
    let says = |operations, bytes| Has {
        bulk: Some(BulkLimits { max_operations: operations, max_bytes: bytes }),
        patch: true,
        etag: false,
        filter: Some(0),
    };
    for ((operations, bytes), expected) in
        [((1000, 1000), (100, 1000)), ((50, 9000), (50, 5000)), ((0, 0), (100, 5000))]
    {
        let bulk = profile.overridden(says(operations, bytes)).bulk.unwrap();
        assert_eq!((bulk.max_operations, bulk.max_bytes), expected);
    }
    assert_eq!(read("").overridden(says(7, 0)), says(7, 0));
}

#[test]
fn what_the_profile_knows_better_counts() {
    let says = Has { bulk: None, patch: true, etag: true, filter: Some(10) };
    let forced = read("[capabilities]\nbulk = true\npatch = false\netag = false\nfilter = false\n");
    let has = forced.overridden(says.clone());
    assert_eq!(has.bulk, Some(BulkLimits { max_operations: 0, max_bytes: 0 }));
    assert_eq!((has.patch, has.etag, has.filter), (false, false, None));
    assert!(forced.dialect().users.filterable.is_empty(), "lookups list everything");
    assert_eq!(read("").overridden(says.clone()), says);
}

#[test]
fn a_base_path_is_compared_from_its_end() {
    let profile = read("base_path = \"/realms/{realm}/scim/v2\"");
    for (path, fits) in [
        ("/realms/x/scim/v2", true),
        ("/auth/realms/x/scim/v2/", true),
        ("/realms/x/scim", false),
        ("/scim/v2", false),
        ("/", false),
    ] {
        assert_eq!(profile.fits_base_path(path), fits, "{path}");
    }
    assert!(read("").fits_base_path("/anything"));
}

#[test]
fn members_are_ids_unless_the_profile_says_otherwise() {
    use crate::core::dialect::MemberValue;
    assert_eq!(read("").dialect().member_value, MemberValue::Id);
    assert_eq!(read("[members]\nvalue = \"userName\"\n").dialect().member_value, MemberValue::UserName);
}

#[test]
fn what_is_not_listed_is_not_put() {
    let text = "[groups]\nupdate = \"put\"\n[members]\nlisted = false\n";
    assert!(
        problems(text).contains("line 4, members.listed: must be true with groups.update"),
        "{}",
        problems(text)
    );
    let dialect = read("[members]\nlisted = false\nreplace = true\nremove_all = true\n").dialect();
    assert!(!dialect.members_listed && dialect.replace_members && dialect.remove_all_members);
}
