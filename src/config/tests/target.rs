//! What is said about the target: its profile, an access key.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::{overridden, refused, with};
use crate::config::{Auth, Config};

#[test]
fn an_access_key_needs_its_parts() {
    refused(
        with(
            "auth = { kind = \"cxone-access-key\", token_url = \"https://na1.example.com/token/access-key\", access_key_secret = { file = \"/run/token\" } }",
        ),
        "target.auth.access_key_id",
        "is required with kind",
    );
    let config = with(
        "auth = { kind = \"cxone-access-key\", token_url = \"https://na1.example.com/token/access-key\", access_key_id = \"k1\", access_key_secret = { file = \"/run/token\" } }",
    );
    let Auth::AccessKey { access_key_id, access_key_secret, refresh_before, .. } =
        config.unwrap().target.auth
    else {
        panic!("another kind")
    };
    assert_eq!((access_key_id.as_str(), access_key_secret.expose_secret()), ("k1", "t0ken"));
    assert_eq!(refresh_before, Duration::from_secs(60));
}

#[test]
fn a_profile_is_a_shipped_one_or_a_file() {
    let profile = |name: &str| with(&format!("profile = {name:?}"));
    assert_eq!(profile("keycloak").unwrap().target.profile.name, "keycloak");
    let own = profile("/etc/own.toml").unwrap().target.profile;
    assert_eq!((own.name.as_str(), own.dialect().users.segment.as_str()), ("/etc/own.toml", "people"));
    let of_environment = overridden("SCIM_RELAY__TARGET__PROFILE", "slack").unwrap();
    assert_eq!(of_environment.target.profile.name, "slack");
    refused(profile("okta"), "target.profile", "no shipped profile: these are generic, nice-cxone");
    refused(profile("/etc/none.toml"), "target.profile", "`/etc/none.toml` can't be read: no such file");
    refused(profile("/etc/bad.toml"), "target.profile", "line 1, verified: invalid type");
    refused(profile("/etc/bad.toml"), "target.profile", "line 3, users.paht: unknown field");
}

#[test]
fn rates_are_the_profile_s_unless_something_is_said() {
    let rates = |more: &str| {
        let text = format!(
            "[target]\nname = \"t\"\nbase_url = \"http://127.0.0.1/\"\nprofile = \"nice-cxone\"\n{more}"
        );
        let limits = Config::parse(&text, &BTreeMap::new(), &|_| Ok(String::new())).unwrap().limits;
        (limits.requests.map(|rate| rate.to_string()), limits.burst)
    };
    assert_eq!(rates(""), (Some("2/s".to_owned()), 1));
    assert_eq!(rates("[limits]\nrequests = \"50/s\"\nburst = 5\n"), (Some("50/s".to_owned()), 5));
    assert_eq!(rates("[limits]\nrequests = \"0\"\n"), (None, 1));
}

#[test]
fn memberships_go_only_where_it_is_known_who_is_in_which_group() {
    assert_eq!(with("[deprovision]\nmemberships = \"remove\"\n").unwrap().memberships, "remove");
    let by_mail = "[deprovision]\nmemberships = \"remove\"\n[references]\nuser = \"email\"\n";
    refused(with(by_mail), "deprovision.memberships", "needs references.user");
}
