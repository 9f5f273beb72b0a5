//! The configuration as people write it, and what they are told when it is wrong.

mod target;

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::document::{example, schema};
use super::keys::{KEYS, Kind};
use super::{Auth, Config};
use crate::core::guard::Limits;

const SMALLEST: &str = "[target]\nname = \"t\"\nbase_url = \"https://scim.example.com/v2\"\n";

/// The files that exist.
fn read(path: &str) -> std::io::Result<String> {
    match path {
        "/run/token" => Ok("t0ken\r\n".into()),
        "/run/empty" => Ok("\n".into()),
        "/path/to/file.pem" => Ok("PEM".into()),
        "/etc/own.toml" => Ok("[users]\npath = \"/people\"\n".into()),
        "/etc/bad.toml" => Ok("verified = 1\n[users]\npaht = \"/people\"\n".into()),
        _ => Err(std::io::Error::other("no such file")),
    }
}

fn parse_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<(String, String)>> {
    let environment: BTreeMap<String, String> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::parse(text, &environment, &read)
        .map_err(|error| error.0.into_iter().map(|problem| (problem.key, problem.what)).collect())
}

/// The smallest configuration, overridden by the environment.
fn overridden(name: &str, value: &str) -> Result<Config, Vec<(String, String)>> {
    parse_with(SMALLEST, &[(name, value)])
}

/// The smallest configuration and more.
fn with(more: &str) -> Result<Config, Vec<(String, String)>> {
    parse_with(&format!("{SMALLEST}{more}"), &[])
}

/// Checks that this is the one problem: its key, and a part of what is said.
#[track_caller]
fn refused(parsed: Result<Config, Vec<(String, String)>>, key: &str, what: &str) {
    let problems = parsed.expect_err("it is wrong");
    let [(found, said)] = problems.as_slice() else { panic!("one problem, not {problems:?}") };
    assert_eq!(found, key);
    assert!(said.contains(what), "`{said}` says nothing of `{what}`");
}

#[test]
fn a_target_is_all_that_a_configuration_needs() {
    let config = parse_with(SMALLEST, &[]).unwrap();
    assert_eq!(config.target.name, "t");
    assert_eq!(config.linger, Duration::from_millis(50));
    assert_eq!(config.max_bytes, 1 << 20);
    assert!(matches!(config.target.auth, Auth::None));
}

#[test]
fn the_example_parses_and_equals_the_defaults() {
    let smallest = "[target]\nname = \"sandbox\"\nbase_url = \"http://127.0.0.1:8080/scim/v2\"\n";
    let (example, defaults) = (parse_with(&example(), &[]).unwrap(), parse_with(smallest, &[]).unwrap());
    assert_eq!(format!("{example:?}"), format!("{defaults:?}"));
}

#[test]
fn the_example_shows_every_key() {
    let text = example();
    for key in KEYS {
        let (section, name) = key.path.rsplit_once('.').unwrap();
        let part = text.split("\n[").find(|part| part.starts_with(&format!("{section}]"))).unwrap();
        assert!(part.lines().any(|line| line.trim_start_matches("# ").starts_with(name)), "{}", key.path);
    }
}

#[test]
fn what_the_example_shows_in_comments_is_right_but_for_the_secrets() {
    let text: String = example()
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.split_once(" = ").is_some_and(|(name, _)| !name.contains(' ')) => rest,
            _ => line,
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let text = text.replace("urls = []\n", "");
    let secrets = KEYS.iter().filter(|key| key.kind == Kind::Secret).map(|key| key.path).collect::<Vec<_>>();
    let problems = parse_with(&text, &[]).expect_err("NAME is not set");
    let keys: Vec<&str> = problems.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys.len(), secrets.len(), "{problems:?}");
    assert!(secrets.iter().all(|secret| keys.contains(secret)), "{problems:?}");
}

#[test]
fn every_default_is_right_for_its_key() {
    for key in KEYS.iter().filter(|key| key.default.is_some()) {
        assert!(!key.required, "{} has a default, and is required", key.path);
    }
    assert!(parse_with(SMALLEST, &[]).is_ok());
}

#[test]
fn all_problems_are_told_at_once_each_with_its_key() {
    let text = r#"
[amqp]
url = "http://broker"
prefetch = 0
[target]
base_url = "https://scim.example.com"
auth = { kind = "bearer" }
[flush]
linger = "soon"
lingr = "1s"
[retry]
delays = ["5s", "1s"]
"#;
    let problems = parse_with(text, &[("SCIM_RELAY__FLUSH__CONCURRENCY", "many")]).expect_err("it is wrong");
    let keys: Vec<&str> = problems.iter().map(|(key, _)| key.as_str()).collect();
    let expected = [
        "amqp.prefetch",
        "amqp.url",
        "flush.concurrency",
        "flush.linger",
        "flush.lingr",
        "retry.delays",
        "target.auth.token",
        "target.name",
    ];
    assert_eq!(keys, expected, "{problems:?}");
}

#[test]
fn the_message_lists_a_problem_a_line() {
    let error = Config::parse("[target]\nname = \"a b\"", &BTreeMap::new(), &read).expect_err("it is wrong");
    let lines: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "the configuration has 2 problems");
    assert!(lines[1].starts_with("  target.base_url: is required"), "{}", lines[1]);
    assert!(lines[2].starts_with("  target.name: must be 1 to 40 letters"), "{}", lines[2]);
}

#[test]
fn an_unknown_key_is_refused_with_what_may_have_been_meant() {
    refused(with("[amqp]\nprefech = 1"), "amqp.prefech", "did you mean `amqp.prefetch`?");
    refused(with("[flush]\ntimeout = \"1s\""), "flush.timeout", "did you mean `target.timeout`?");
    refused(with("[ampq]\nurl = \"x\""), "ampq", "did you mean `amqp`?");
    let problems = with("[redis]\nfoo = 1").expect_err("it is wrong");
    assert_eq!(problems, [("redis.foo".to_owned(), "unknown key".to_owned())]);
}

#[test]
fn a_section_is_not_a_value() {
    refused(parse_with(&format!("redis = 5\n{SMALLEST}"), &[]), "redis", "write [redis]");
    refused(with("[amqp.url]\nx = 1"), "amqp.url", "must be a URL");
}

#[test]
fn what_is_no_toml_is_said_with_its_line_and_without_its_text() {
    let text = "[amqp]\nurl = \"amqp://user:hunter2@broker\n";
    let problems = parse_with(text, &[]).expect_err("it is wrong");
    let [(key, what)] = problems.as_slice() else { panic!("one problem, not {problems:?}") };
    assert_eq!(key, "(file)");
    assert!(what.contains("line 2 column 34") && !what.contains("hunter2"), "{what}");
}

#[test]
fn the_environment_overrides_the_file() {
    let text = format!("{SMALLEST}[flush]\nmax_operations = 7\n");
    assert_eq!(parse_with(&text, &[]).unwrap().max_operations, 7);
    let config = parse_with(&text, &[("SCIM_RELAY__FLUSH__MAX_OPERATIONS", "9")]).unwrap();
    assert_eq!(config.max_operations, 9);
}

#[test]
fn a_configuration_may_come_from_the_environment_alone() {
    let environment = [
        ("SCIM_RELAY__TARGET__NAME", "t"),
        ("SCIM_RELAY__TARGET__BASE_URL", "https://scim.example.com"),
        ("HOME", "/root"),
    ];
    assert_eq!(parse_with("", &environment).unwrap().target.name, "t");
}

#[test]
fn an_override_is_toml_where_that_is_of_the_keys_type_and_a_text_otherwise() {
    let linger = |text| overridden("SCIM_RELAY__FLUSH__LINGER", text).unwrap().linger;
    assert_eq!(linger("20ms"), linger("\"20ms\""));
    let username = |text| overridden("SCIM_RELAY__AMQP__USERNAME", text).unwrap().amqp.username.unwrap();
    assert_eq!(username("relay"), "relay");
    assert_eq!(username("\"relay\""), "relay");
    assert_eq!(username("12345"), "12345");
    assert_eq!(username("true"), "true");
    assert_eq!(username("\"a\"\nb = 1"), "\"a\"\nb = 1");
    let bindings = overridden("SCIM_RELAY__AMQP__BINDINGS", "[\"a.*\", \"b.#\"]").unwrap().amqp.bindings;
    assert_eq!(bindings, ["a.*", "b.#"]);
    let bytes = |text| overridden("SCIM_RELAY__FLUSH__MAX_BYTES", text).unwrap().max_bytes;
    assert_eq!((bytes("64KiB"), bytes("65536")), (65_536, 65_536));
    refused(
        overridden("SCIM_RELAY__AMQP__PREFETCH", "lots"),
        "amqp.prefetch",
        "from SCIM_RELAY__AMQP__PREFETCH",
    );
}

#[test]
fn an_override_of_an_unknown_key_is_an_error() {
    refused(
        overridden("SCIM_RELAY__FLUSH__LINGR", "1s"),
        "SCIM_RELAY__FLUSH__LINGR",
        "`flush.lingr`; did you mean `flush.linger`?",
    );
}

#[test]
fn secrets_come_from_the_environment_or_a_file() {
    let token = |more: &str, environment: &[(&str, &str)]| {
        let text = format!("{SMALLEST}[target.auth]\nkind = \"bearer\"\n{more}");
        match parse_with(&text, environment).unwrap().target.auth {
            Auth::Bearer(token) => token.expose_secret().to_owned(),
            other => panic!("no bearer token: {other:?}"),
        }
    };
    assert_eq!(token("token = { env = \"T\" }", &[("T", "secret")]), "secret");
    // line ends at the end of a file are an editor's, not the secret's
    assert_eq!(token("token = { file = \"/run/token\" }", &[]), "t0ken");
    assert_eq!(token("", &[("SCIM_RELAY__TARGET__AUTH__TOKEN", "secret")]), "secret");
    assert_eq!(token("", &[("SCIM_RELAY__TARGET__AUTH__TOKEN", "{ file = \"/run/token\" }")]), "t0ken");
}

#[test]
fn a_secret_that_is_not_there_or_stands_in_the_file_is_an_error() {
    let password = |value: &str| with(&format!("[amqp]\npassword = {value}"));
    let key = "amqp.password";
    refused(password("{ env = \"NOWHERE\" }"), key, "`NOWHERE` is not set");
    refused(password("{ file = \"/run/nothing\" }"), key, "`/run/nothing` can't be read");
    refused(password("{ file = \"/run/empty\" }"), key, "is empty");
    refused(password("{ env = \"A\", file = \"B\" }"), key, "{ env = \"NAME\" } or { file = \"PATH\" }");
    refused(password("{ vault = \"A\" }"), key, "{ env = \"NAME\" } or { file = \"PATH\" }");
    refused(overridden("SCIM_RELAY__AMQP__PASSWORD", ""), key, "is empty");
    let problems = password("\"hunter2\"").expect_err("it is wrong");
    assert!(problems[0].1.contains("does not stand in the configuration"), "{problems:?}");
    assert!(!format!("{problems:?}").contains("hunter2"));
}

#[test]
fn a_secret_does_not_print() {
    let config = overridden("SCIM_RELAY__AMQP__PASSWORD", "hunter2").unwrap();
    assert!(config.amqp.password.is_some());
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn http_leaves_this_machine_only_when_that_is_allowed() {
    let target = |url: &str, more: &str| {
        parse_with(&format!("[target]\nname = \"t\"\nbase_url = \"{url}\"\n{more}"), &[])
    };
    for url in
        ["http://127.0.0.1:8080/scim", "http://[::1]/scim", "http://localhost/scim", "https://a.example"]
    {
        assert!(target(url, "").is_ok(), "{url}");
    }
    refused(target("http://a.example", ""), "target.base_url", "target.allow_http = true");
    refused(target("http://0.0.0.0", ""), "target.base_url", "target.allow_http = true");
    assert!(target("http://a.example", "allow_http = true").is_ok());
    let auth = "[target.auth]\nkind = \"oauth2-client-credentials\"\nclient_id = \"c\"\n\
                client_secret = { file = \"/run/token\" }\ntoken_url = \"http://login.example\"";
    refused(target("https://a.example", auth), "target.auth.token_url", "target.allow_http = true");
}

#[test]
fn a_target_s_url_holds_no_credentials() {
    let text = "[target]\nname = \"t\"\nbase_url = \"https://u:hunter2@a.example\"";
    let problems = parse_with(text, &[]).expect_err("it is wrong");
    assert_eq!(problems[0].0, "target.base_url");
    assert!(!format!("{problems:?}").contains("hunter2"));
}

#[test]
fn each_way_to_authenticate_needs_its_keys() {
    let missing = |kind: &str| {
        let problems = with(&format!("[target.auth]\nkind = \"{kind}\"")).expect_err("keys are missing");
        problems.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(missing("bearer"), ["target.auth.token"]);
    assert_eq!(
        missing("oauth2-client-credentials"),
        ["target.auth.client_id", "target.auth.client_secret", "target.auth.token_url"]
    );
    assert_eq!(missing("kerberos"), ["target.auth.kind"]);
}

#[test]
fn a_client_certificate_needs_its_key_and_the_other_way_round() {
    for section in ["amqp", "redis", "target"] {
        let one = |name: &str| parse_with(SMALLEST, &[(&override_of(section, name), "/path/to/file.pem")]);
        let key = |name: &str| format!("{section}.{name}");
        refused(one("client_certificate_file"), &key("client_key_file"), "is required");
        refused(one("client_key_file"), &key("client_certificate_file"), "is required");
    }
}

fn override_of(section: &str, name: &str) -> String {
    format!("SCIM_RELAY__{section}__{name}").to_uppercase()
}

#[test]
fn a_file_that_can_t_be_read_is_an_error_of_its_key() {
    refused(with("[amqp]\nca_file = \"/nowhere\""), "amqp.ca_file", "`/nowhere` can't be read");
}

#[test]
fn a_cluster_is_named_by_its_nodes() {
    let nodes = "[\"redis://a:6379\", \"redis://b:6379\"]";
    let config = with(&format!("[redis]\nmode = \"cluster\"\nurls = {nodes}")).unwrap();
    assert_eq!((config.redis.cluster, config.redis.urls.len()), (true, 2));
    refused(with(&format!("[redis]\nurls = {nodes}")), "redis.urls", "use redis.url");
    refused(with("[redis]\nmode = \"cluster\"\nurls = []"), "redis.urls", "at least one");
    refused(with("[redis]\nmode = \"cluster\"\nurls = [\"http://a\"]"), "redis.urls", "redis://");
}

#[test]
fn time_spans_have_units_and_bounds() {
    let linger = |text: &str| with(&format!("[flush]\nlinger = {text}"));
    assert_eq!(linger("\"1s 500ms\"").unwrap().linger, Duration::from_millis(1500));
    assert_eq!(linger("\"0s\"").unwrap().linger, Duration::ZERO);
    assert_eq!(linger("\"60s\"").unwrap().linger, Duration::from_secs(60));
    for (wrong, what) in [
        ("50", "with its unit"),
        ("\"50\"", "not a time span"),
        ("\"50 parsecs\"", "not a time span"),
        ("\"61s\"", "is 61s, must be from 0ms to 1m"),
        ("\"1500us\"", "finer than a millisecond"),
    ] {
        refused(linger(wrong), "flush.linger", what);
    }
}

#[test]
fn amounts_of_bytes_have_units_and_bounds() {
    let limit = |text: &str| with(&format!("[amqp]\nmax_event_bytes = {text}"));
    let units = ["2048", "\"2048\"", "\"2048B\"", "\"2KiB\"", "\"2 KiB\""];
    assert!(units.iter().all(|text| limit(text).unwrap().amqp.max_event_bytes == 2_048));
    assert_eq!(limit("\"2kB\"").unwrap().amqp.max_event_bytes, 2_000);
    for (wrong, what) in [
        ("\"1 pound\"", "not an amount of bytes"),
        ("\"MiB\"", "not an amount of bytes"),
        ("\"99999999999TiB\"", "not an amount of bytes"),
        ("\"1000B\"", "at least 1024"),
        ("1023", "from 1024"),
        ("-1", "from 1024"),
        ("1.5", "such as \"1MiB\""),
    ] {
        refused(limit(wrong), "amqp.max_event_bytes", what);
    }
}

#[test]
fn numbers_have_bounds() {
    let prefetch = |number: &str| with(&format!("[amqp]\nprefetch = {number}"));
    assert_eq!(prefetch("65535").unwrap().amqp.prefetch, 65_535);
    for wrong in ["0", "65536", "-1", "1.0", "\"500\""] {
        refused(prefetch(wrong), "amqp.prefetch", "a whole number from 1 to 65535");
    }
}

#[test]
fn the_ladder_rises_and_has_an_end() {
    let delays = |text: &str| with(&format!("[retry]\ndelays = {text}"));
    assert_eq!(delays("[\"10ms\", \"1s\"]").unwrap().delays.len(), 2);
    refused(delays("[]"), "retry.delays", "at least one");
    refused(delays("[\"1s\", \"1s\"]"), "retry.delays", "`1s` does not");
    refused(delays("[\"1ms\"]"), "retry.delays", "from 10ms");
    let many: Vec<String> = (1..=33).map(|seconds| format!("{seconds}s")).collect();
    refused(delays(&format!("{many:?}")), "retry.delays", "at most 32");
}

#[test]
fn the_guard_has_limits_or_is_off() {
    let guard = |text: &str| with(&format!("[deprovision]\nguard = {text}\n")).map(|config| config.guard);
    assert_eq!(with("").unwrap().guard, Some(Limits::default()));
    assert_eq!(guard("false"), Ok(None));
    let some = Limits { max_per_hour: 5, max_percent: 50, ..Limits::default() };
    assert_eq!(guard("{ max_per_hour = 5, max_percent = 50 }"), Ok(Some(some)));
    let section = with("[deprovision.guard]\nmax_per_hour = 5\nmax_percent = 50\n").unwrap();
    assert_eq!(section.guard, Some(some));
    let text = "{ max_per_hour = 5, max_percent = 50 }";
    assert_eq!(overridden("SCIM_RELAY__DEPROVISION__GUARD", text).unwrap().guard, Some(some));
    assert_eq!(overridden("SCIM_RELAY__DEPROVISION__GUARD", "false").unwrap().guard, None);
}

#[test]
fn limits_of_the_guard_that_are_none_are_refused_with_their_names() {
    for (text, what) in [
        ("true", "must be false, or a table"),
        ("200", "must be false, or a table"),
        ("{ max_per_week = 1 }", "has no `max_per_week`: it knows max_per_hour, max_per_day"),
        ("{ max_percent = 101 }", "`max_percent` is 101, must be a whole number from 0 to 100"),
        ("{ max_per_hour = \"all\" }", "`max_per_hour` must be a whole number"),
    ] {
        refused(with(&format!("[deprovision]\nguard = {text}\n")), "deprovision.guard", what);
        refused(overridden("SCIM_RELAY__DEPROVISION__GUARD", text), "deprovision.guard", what);
    }
}

#[test]
fn names_that_become_keys_and_queues_are_plain() {
    for wrong in ["", "a.b", "a b", "ä", "a{b}", &"x".repeat(41)] {
        let text = format!("[target]\nname = \"{wrong}\"\nbase_url = \"https://a.example\"");
        refused(parse_with(&text, &[]), "target.name", "1 to 40 letters");
    }
    refused(with("[redis]\nkey_prefix = \"a:b\""), "redis.key_prefix", "1 to 40 letters");
    let long = "x".repeat(256);
    refused(with(&format!("[amqp]\nexchange = \"{long}\"")), "amqp.exchange", "at most 255 bytes");
}

#[test]
fn the_admin_address_is_an_address() {
    let listen = |text: &str| with(&format!("[admin]\nlisten = \"{text}\""));
    assert_eq!(listen("localhost:0").unwrap().listen.to_string(), "127.0.0.1:0");
    assert!(listen("[::1]:9464").is_ok());
    refused(listen("9464"), "admin.listen", "an address and a port");
}

#[test]
fn the_schema_has_every_key_with_its_default() {
    let schema = schema();
    for key in KEYS {
        let pointer = format!("/properties/{}", key.path.replace('.', "/properties/"));
        let property = schema.pointer(&pointer).unwrap_or_else(|| panic!("{} is missing", key.path));
        assert_eq!(property["description"], key.doc, "{}", key.path);
        assert_eq!(property.get("default").is_some(), key.default.is_some(), "{}", key.path);
    }
    assert_eq!(schema["required"], serde_json::json!(["target"]));
    assert_eq!(schema["properties"]["target"]["required"], serde_json::json!(["name", "base_url"]));
}

#[test]
fn rates_name_their_time_or_are_none() {
    let limits = with("[limits]\nrequests = \"180/m\"\noperations = \"0\"\n").unwrap().limits;
    assert_eq!(limits.requests.map(|rate| rate.to_string()).as_deref(), Some("180/m"));
    assert_eq!((limits.burst, limits.operations), (1, None));
    let form = "must be a rate such as \"50/s\", \"180/m\" or \"1000/h\"";
    for wrong in ["\"50\"", "\"50/d\"", "\"0/s\"", "50"] {
        refused(with(&format!("[limits]\nrequests = {wrong}\n")), "limits.requests", form);
    }
}
