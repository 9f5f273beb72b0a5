//! `schemas/`: what commands print about letters and resources, as programs read it. A listing of letters is the letter's schema
//! and what the command adds: those are made from it.

use std::process::Command;

use lapin::BasicProperties;
use scim_relay::core::foresee::Foresight;
use serde_json::{Value, json};

use crate::schemas::{altered, committed, does_not_fit, fits, lines, path, validator};
use crate::support::amqp::Amqp;
use crate::support::dead::letters_of;
use crate::support::events::event;
use crate::support::relay::{Relay, eventually};
use crate::support::sandbox::Sandbox;

/// The letter's schema with more in it, some of which is always there.
fn letter_with(title: &str, more: &Value, required: &[&str]) -> Value {
    let mut schema = committed("letter.json");
    schema["title"] = json!(title);
    schema["description"] = json!("A letter as letter.json describes it, and what the command adds.");
    schema["properties"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    schema["required"].as_array_mut().unwrap().extend(required.iter().map(|name| json!(name)));
    schema
}

/// The schemas that are made from the letter's.
fn derived() -> [(&'static str, Value); 3] {
    let verdict = json!({
        "description": "What would come of it now.",
        "enum": Foresight::ALL.map(Foresight::name),
    });
    let why =
        json!({"type": "string", "minLength": 1, "description": "Where the verdict alone does not say it."});
    let planned = json!({"verdict": verdict, "why": why});
    let mut shown = planned.clone();
    shown["body"] = json!({"description": "What it carries, where that is JSON."});
    shown["body_base64"] =
        json!({"type": "string", "contentEncoding": "base64", "description": "Otherwise."});
    let mut show = letter_with("scim-relay dead show --json, one line", &shown, &["verdict"]);
    show["oneOf"] = json!([{"required": ["body"]}, {"required": ["body_base64"]}]);
    let intent =
        json!({"type": ["object", "null"], "description": "What it carries; null: no intent of the relay."});
    let held = json!({"intent": intent, "verdict": verdict});
    [
        ("plan.json", letter_with("scim-relay dead plan --json, one line", &planned, &["verdict"])),
        ("show.json", show),
        ("held.json", letter_with("scim-relay held show --json, one line", &held, &["intent"])),
    ]
}

#[test]
fn the_schemas_of_listings_are_made_from_the_letter_s() {
    for (name, schema) in derived() {
        let made = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(path(name), &made).unwrap();
        }
        let committed = std::fs::read_to_string(path(name)).unwrap_or_default();
        assert_eq!(committed, made, "run this test with UPDATE_SCHEMAS=1 to rewrite schemas/{name}");
    }
}

#[test]
fn the_classes_of_counts_are_the_letter_s() {
    let class = |name: &str| committed(name)["properties"]["class"]["enum"].clone();
    for name in ["summary.json", "replay.json"] {
        assert_eq!(class(name), class("letter.json"), "{name}");
    }
}

/// The commands that print JSON, by what their own help says: `dead plan`, for one.
fn with_json(words: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_scim-relay")).args(words).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let mut found = Vec::new();
    if help.contains("--json") {
        found.push(words.join(" "));
    }
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    for name in commands.take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next())
    {
        if name != "help" {
            found.extend(with_json(&[words, &[name]].concat()));
        }
    }
    found
}

/// The schema of each command's lines.
const SCHEMAS: [(&str, &str); 13] = [
    ("status", "status.json"),
    ("explain", "explain.json"),
    ("trace", "trace.json"),
    ("held list", "letter.json"),
    ("held show", "held.json"),
    ("dead summary", "summary.json"),
    ("dead list", "letter.json"),
    ("dead show", "show.json"),
    ("dead plan", "plan.json"),
    ("dead replay", "replay.json"),
    ("topology show", "topology.json"),
    ("topology verify", "topology.json"),
    ("check", "check.json"),
];

#[test]
fn every_command_that_prints_json_has_a_schema() {
    let commands = with_json(&[]);
    assert_eq!(commands, SCHEMAS.map(|(command, _)| command));
    assert!(SCHEMAS.iter().all(|(_, schema)| path(schema).is_file()));
}

/// A relay with a refused user, an unreadable event, a group that waits for a member, and a leaver whom the guard holds.
async fn troubled() -> (Sandbox, Relay) {
    let sandbox = Sandbox::with_faults(json!({"poison": "bad", "poison_status": 400})).await;
    let guard = "[deprovision]\nguard = { max_per_hour = 0, min_resources = 0 }\n";
    let relay = Relay::start(&sandbox.running.base_url().parse().unwrap(), None, guard);
    relay.ready().await;
    let members = json!({"displayName": "Sales", "members": [{"value": "e-9"}]});
    relay.publish(&[
        event(1, "user.put", "e-1", json!({"userName": "ana@example.com"})),
        event(2, "user.put", "e-2", json!({"userName": "bad@example.com"})),
        event(3, "group.put", "g-1", members),
    ]);
    eventually("Ana is there", async || {
        sandbox.user_names().await.contains(&"ana@example.com".into()).then_some(())
    })
    .await;
    relay.publish(&[event(4, "user.deactivate", "e-1", Value::Null)]);
    let properties = BasicProperties::default();
    assert!(Amqp::connect().await.publish(&relay.exchange, "directory.user.put", properties, b"\xff").await);
    letters_of(&relay, 2).await;
    eventually("the leaver is held", async || {
        (relay.metric("scim_relay_held_changes", "").await? == 1.0).then_some(())
    })
    .await;
    (sandbox, relay)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_is_printed_about_letters_and_resources_fits() {
    let (_sandbox, relay) = troubled().await;
    let all_fit = |schema: &str, arguments: &[&str], count: usize| {
        let printed = lines(&relay, &[arguments, &["--json"]].concat());
        assert_eq!(printed.len(), count, "{arguments:?}");
        let validator = validator(schema);
        printed.iter().for_each(|document| fits(&validator, document));
        does_not_fit(&validator, &altered(printed[0].clone(), "mood", json!("gloomy")));
        printed
    };
    all_fit("letter.json", &["dead", "list"], 2);
    all_fit("letter.json", &["held", "list"], 1);
    let held = all_fit("held.json", &["held", "show"], 1).remove(0);
    assert_eq!((&held["verdict"], &held["intent"]["origin"]), (&json!("deprovision"), &json!("approve")));
    does_not_fit(&validator("held.json"), &altered(held, "intent", json!("leave")));

    let planned = all_fit("plan.json", &["dead", "plan"], 2);
    let letter = validator("letter.json");
    for plan in planned {
        does_not_fit(&letter, &plan);
        does_not_fit(&validator("plan.json"), &altered(plan.clone(), "verdict", Value::Null));
        does_not_fit(&validator("plan.json"), &altered(plan.clone(), "verdict", json!("perhaps")));
        does_not_fit(&validator("plan.json"), &altered(plan, "why", json!("")));
    }
    let shown = all_fit("show.json", &["dead", "show", "--all"], 2);
    assert!(shown.iter().any(|letter| letter["body_base64"] == "/w=="), "{shown:#?}");
    let (body, both) = (shown.iter().find(|letter| letter["body"].is_object()).unwrap(), json!("e30="));
    does_not_fit(&validator("show.json"), &altered(body.clone(), "body_base64", both));
    does_not_fit(&validator("show.json"), &altered(body.clone(), "body", Value::Null));

    let summary = all_fit("summary.json", &["dead", "summary"], 2).remove(0);
    does_not_fit(&validator("summary.json"), &altered(summary.clone(), "count", json!(0)));
    does_not_fit(&validator("summary.json"), &altered(summary, "operation", json!("PATCH /Users/1")));
    let counts = all_fit("replay.json", &["dead", "replay", "--all", "--yes"], 2).remove(0);
    does_not_fit(&validator("replay.json"), &altered(counts, "pending", Value::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn explanations_fit() {
    let (_sandbox, relay) = troubled().await;
    let (explain, letter) = (validator("explain.json"), validator("letter.json"));
    let explained = |resource: &str| {
        let said = lines(&relay, &["explain", resource, "--json"]).remove(0);
        fits(&explain, &said);
        said
    };
    let held = explained("User/e-1");
    assert_eq!(held["withheld"], json!({"active": "held"}));
    let dead = explained("User/e-2");
    assert_eq!(dead["last_failure"]["class"], "invalid");
    let mut head = dead["letters"][0].clone();
    assert_eq!(head["queue"], "dead");
    head.as_object_mut().unwrap().remove("queue");
    fits(&letter, &head);
    assert_eq!(explained("Group/g-1")["desired"]["open_members"], 1);
    let unknown = explained("User/nobody");
    assert_eq!(unknown["known"], false);
    assert!(relay.command().arg("pause").status().unwrap().success());
    eventually("it has heard of it", async || relay.log().contains("an operator stopped").then_some(()))
        .await;
    relay.publish(&[event(5, "user.put", "e-3", json!({"userName": "bo@example.com"}))]);
    eventually("a create waits", async || {
        (explained("User/e-3")["next"]["operation"]["method"] == "POST").then_some(())
    })
    .await;
    let (wrong, said) = (json!({"kind": "write", "detail": ""}), explained("User/e-3"));
    assert_eq!(said["waits_for"][0]["what"], "pause", "{said:#}");
    does_not_fit(&explain, &altered(said.clone(), "next", wrong));
    does_not_fit(&explain, &altered(said.clone(), "withheld", json!({"active": "lost"})));
    does_not_fit(&explain, &altered(said.clone(), "letters", Value::Null));
    does_not_fit(&explain, &altered(said.clone(), "waits_for", json!([{"what": "godot", "detail": "x"}])));
    does_not_fit(&explain, &altered(said, "mood", json!("gloomy")));
}
