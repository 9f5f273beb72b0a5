//! One history, with every profile: joiners, movers, leavers, who comes back, groups that grow, shrink and are renamed, a member that
//! nobody knows yet, a stranger's change, and more members than a request holds.

use std::collections::BTreeSet;
use std::time::Duration;

use scim_relay::target::profile::ConflictShape;
use serde_json::{Value, json};

use super::directory::{Directory, User};
use crate::support::dead::letters_of;
use crate::support::events::event;
use crate::support::provider::Provider;
use crate::support::relay::{PATIENCE, Relay};

/// DELETE is what a delete event does: what deletes softly shows it then.
const CONFIG: &str = "[deprovision]\nuser = \"delete\"\n[references]\nwait = \"1h\"\n";

const LATE: &str = "e-late";

#[tokio::test]
async fn a_history_arrives_with_the_profile_generic() {
    arrives("generic").await;
}

#[tokio::test]
async fn a_history_arrives_with_the_profile_of_nice_cxone() {
    arrives("nice-cxone").await;
}

#[tokio::test]
async fn a_history_arrives_with_the_profile_of_genesys_cloud() {
    arrives("genesys-cloud").await;
}

#[tokio::test]
async fn a_history_arrives_with_the_profile_of_aws_identity_center() {
    arrives("aws-identity-center").await;
}

#[tokio::test]
async fn a_history_arrives_with_the_profile_of_keycloak() {
    arrives("keycloak").await;
}

#[tokio::test]
async fn a_history_arrives_with_the_profile_of_scim2_server() {
    arrives("scim2-server").await;
}

#[tokio::test]
async fn a_history_arrives_at_genesys_cloud_whatever_goes_wrong() {
    let provider = Provider::start("genesys-cloud").await;
    let faults = json!({
        "scope": "writes", "rate_500": 0.05, "rate_drop_after": 0.05, "rate_429": 0.03, "rate_truncated": 0.05,
    });
    play(&provider, faults).await;
}

/// What no tested profile says, or not in this company.
const ODD: [&str; 7] = [
    "[answers]\netag = \"unquoted\"\nconflict = \"409\"\nretry_after = \"date\"\n",
    "[members]\nremoval = \"values\"\n[capabilities]\nbulk = false\n[answers]\npatch = \"resource\"\n",
    "[users]\nupdate = \"put\"\n[groups]\nupdate = \"put\"\n[limits]\nmembers_per_request = 15\n",
    "[capabilities]\nfilter = false\netag = false\npatch = false\n[limits]\npage_size = 7\n",
    "[answers]\nerror = \"code-message\"\nconflict = \"invalidVers\"\n[bulk]\nerrors = \"inline\"\nversions = false\n",
    "base_path = \"/{a}/b/{c}\"\n[users]\npath = \"/v1/people\"\nrefuses_existing = true\nsoft_delete = true\n\
     hidden = \"active eq false\"\n[groups]\npath = \"/v1/teams\"\nrefuses_existing = true\n[bulk]\npath = \"/massive\"\n",
    "[limits]\noperations = 3\nbytes = 2000\nmembers_per_request = 5\n",
];

#[tokio::test]
async fn a_history_arrives_whatever_the_forms() {
    let files = tempfile::tempdir().unwrap();
    let own = files.path().join("own.toml");
    for text in ODD {
        std::fs::write(&own, text).unwrap();
        let provider = Provider::start(own.to_str().unwrap()).await;
        eprintln!("{text}");
        play(&provider, json!({})).await;
    }
}

#[tokio::test]
async fn a_relay_with_another_profile_does_not_get_through() {
    let files = tempfile::tempdir().unwrap();
    let own = files.path().join("own.toml");
    std::fs::write(&own, "[members]\nremoval = \"values\"\n").unwrap();
    let provider = Provider::start(own.to_str().unwrap()).await;
    let relay = Relay::start(&provider.sandbox.running.base_url().parse().unwrap(), None, "");
    relay.ready().await;
    let mut history = History { sequence: 0, told: Vec::new(), directory: Directory::default() };
    history.joins("e-1");
    history.founded("g-sales", "Sales", &["e-1".to_owned()]);
    relay.publish(&std::mem::take(&mut history.told));
    becomes(&provider, "one member", &history.directory).await;
    history.patched("group", "g-sales", json!([{"op": "remove", "path": "members[value eq \"e-1\"]"}]));
    relay.publish(&history.told);
    let refused = BTreeSet::from([("Group/g-sales".to_owned(), "invalid".to_owned())]);
    assert_eq!(dead(&relay, 1).await, refused);
}

/// The history so far: what was told, and what it must lead to.
struct History {
    sequence: usize,
    told: Vec<Value>,
    directory: Directory,
}

impl History {
    fn tell(&mut self, kind: &str, subject: &str, data: Value) {
        self.sequence += 1;
        self.told.push(event(self.sequence, kind, subject, data));
    }

    fn user(&mut self, id: &str) -> &mut User {
        self.directory.users.get_mut(id).unwrap()
    }

    fn members(&mut self, group: &str) -> &mut BTreeSet<String> {
        self.directory.groups.get_mut(group).unwrap()
    }

    /// Somebody joins, or comes back.
    fn joins(&mut self, id: &str) {
        let name = format!("{id}@example.com");
        self.tell(
            "user.put",
            id,
            json!({
                "userName": name, "title": "Clerk", "active": true,
                "name": {"givenName": id, "familyName": "Example"},
                "emails": [{"value": name, "type": "work", "primary": true}],
            }),
        );
        let user = User { name, title: Some("Clerk".to_owned()), ..User::default() };
        self.directory.users.insert(id.to_owned(), user);
    }

    fn founded(&mut self, id: &str, name: &str, members: &[String]) {
        self.tell("group.put", id, json!({"displayName": name, "members": members}));
        self.directory.groups.insert(name.to_owned(), members.iter().cloned().collect());
    }

    fn patched(&mut self, kind: &str, id: &str, operations: Value) {
        self.tell(&format!("{kind}.patch"), id, json!({"Operations": operations}));
    }

    /// Who is not there any more is in no group.
    fn leaves(&mut self, id: &str) {
        self.directory.users.remove(id);
        for members in self.directory.groups.values_mut() {
            members.remove(id);
        }
    }
}

fn person(number: usize) -> String {
    format!("e-{number}")
}

async fn arrives(name: &str) {
    let provider = Provider::start(name).await;
    play(&provider, json!({})).await;
    only_old_versions_are_refused(&provider).await;
}

async fn play(provider: &Provider, faults: Value) {
    let name = &provider.profile.name;
    let people = provider.profile.limits.members_per_request.map_or(40, |most| most.get() + 20);
    let only_matched = !provider.profile.groups.create;
    // somebody who left before the relay came, and groups where they can't be created
    let mut there = json!({"Users": [{"userName": "e-1@example.com", "active": false}]});
    if only_matched {
        there["Groups"] = ["Everybody", "Sales", "Closed"].map(|name| json!({"displayName": name})).into();
    }
    provider.holding(there).await;
    let relay = provider.relay(CONFIG).await;
    provider.sandbox.set_faults(faults.clone()).await;
    let mut history = History { sequence: 0, told: Vec::new(), directory: Directory::default() };
    let mut expected_letters = BTreeSet::new();

    joiners(&mut history, people);
    if only_matched {
        history.tell("group.put", "g-none", json!({"displayName": "Nowhere"}));
        expected_letters.insert(("Group/g-none".to_owned(), "not_supported".to_owned()));
    }
    relay.publish(&std::mem::take(&mut history.told));
    becomes(provider, "joiners", &history.directory).await;

    provider.sandbox.set_faults(json!({})).await;
    foreign_change(provider, &mut history).await;
    provider.sandbox.set_faults(faults.clone()).await;
    movers(&mut history);
    if only_matched {
        expected_letters.insert(("Group/g-closed".to_owned(), "not_supported".to_owned()));
    } else {
        history.directory.groups.remove("Closed");
    }
    relay.publish(&std::mem::take(&mut history.told));
    becomes(provider, "movers", &history.directory).await;

    leavers(&mut history);
    relay.publish(&std::mem::take(&mut history.told));
    becomes(provider, "leavers", &history.directory).await;

    history.joins(&person(9));
    history.members("Everyone").insert(person(9));
    history.tell("user.activate", &person(8), Value::Null);
    let user =
        User { name: "e-8@example.com".to_owned(), title: Some("Clerk".to_owned()), ..User::default() };
    history.directory.users.insert(person(8), user);
    relay.publish(&std::mem::take(&mut history.told));
    becomes(provider, "who comes back", &history.directory).await;

    relay.settled(history.sequence).await;
    assert_eq!(dead(&relay, expected_letters.len()).await, expected_letters, "{name}");
    assert_eq!(Directory::of(&provider.state().await), history.directory, "{name}: it stays so");
}

fn joiners(history: &mut History, people: usize) {
    let everybody: Vec<String> = (1..=people).map(person).collect();
    everybody.iter().for_each(|id| history.joins(id));
    let with_late: Vec<String> = everybody.iter().cloned().chain([LATE.to_owned()]).collect();
    history.founded("g-all", "Everybody", &with_late);
    history.members("Everybody").remove(LATE);
    history.founded("g-sales", "Sales", &everybody[..3]);
    history.founded("g-closed", "Closed", &everybody[..1]);
}

/// Somebody else gives number 12 a nick name, so that the relay's version is an old one.
async fn foreign_change(provider: &Provider, history: &mut History) {
    let state = provider.state().await;
    let users = state["Users"].as_array().unwrap();
    let mut user = users.iter().find(|user| user["externalId"] == "e-12").unwrap().clone();
    user["nickName"] = json!("Twelve");
    let path = format!("{}/{}", provider.users(), user["id"].as_str().unwrap());
    let answer = provider.ask("PUT", &path, Some(user)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    history.user("e-12").nick_name = Some("Twelve".to_owned());
}

fn movers(history: &mut History) {
    for number in [3, 12] {
        let id = person(number);
        history.patched("user", &id, json!([{"op": "replace", "path": "title", "value": "Boss"}]));
        history.user(&id).title = Some("Boss".to_owned());
    }
    history.patched("user", "e-4", json!([{"op": "remove", "path": "title"}]));
    history.user("e-4").title = None;
    let manager = format!("{}:manager", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User");
    history.patched("user", "e-5", json!([{"op": "add", "path": manager, "value": {"value": "e-6"}}]));
    history.user("e-5").manager = Some("e-6".to_owned());
    history.patched(
        "user",
        "e-7",
        json!([{"op": "replace", "path": "userName", "value": "seven@example.com"}]),
    );
    history.user("e-7").name = "seven@example.com".to_owned();

    history.patched(
        "group",
        "g-sales",
        json!([
            {"op": "remove", "path": "members[value eq \"e-2\"]"},
            {"op": "remove", "path": "members[value eq \"e-1\"]"},
            {"op": "add", "path": "members", "value": [{"value": "e-4"}, {"value": "e-5"}]},
        ]),
    );
    *history.members("Sales") = ["e-3", "e-4", "e-5"].map(str::to_owned).into();
    history.joins(LATE);
    history.members("Everybody").insert(LATE.to_owned());
    history.patched("group", "g-all", json!([{"op": "replace", "path": "displayName", "value": "Everyone"}]));
    let members = history.directory.groups.remove("Everybody").unwrap();
    history.directory.groups.insert("Everyone".to_owned(), members);
    history.tell("group.delete", "g-closed", Value::Null);
}

/// Number 8 is deactivated and stays in the groups; 9 and 10 are deleted.
fn leavers(history: &mut History) {
    history.tell("user.deactivate", "e-8", Value::Null);
    history.directory.users.remove("e-8");
    for id in ["e-9", "e-10"] {
        history.tell("user.delete", id, Value::Null);
        history.leaves(id);
    }
}

/// The relay, told by the same profile, never asks for what there is not: only versions are refused that others have made old
/// ones, the stranger with his nick name and the deletions that end memberships.
async fn only_old_versions_are_refused(provider: &Provider) {
    let expected: &[&str] = match provider.profile.answers.conflict {
        ConflictShape::PreconditionFailed => &["412 PUT", "412 PATCH"],
        ConflictShape::Conflict => &["409 PUT", "409 PATCH"],
        ConflictShape::InvalidVers => &["400 PUT", "400 PATCH"],
    };
    let refused = provider.refused().await;
    let is_expected = |(what, count): (&String, &usize)| expected.contains(&what.as_str()) && *count <= 3;
    assert!(refused.iter().all(is_expected), "{}: {refused:?}", provider.profile.name);
}

/// Waits until the directory is this one.
async fn becomes(provider: &Provider, what: &str, expected: &Directory) {
    let mut last = Directory::default();
    let equal = tokio::time::timeout(PATIENCE, async {
        while last != *expected {
            tokio::time::sleep(Duration::from_millis(50)).await;
            last = Directory::of(&provider.state().await);
        }
    });
    if equal.await.is_err() {
        panic!("{what}, with {}:\n{}", provider.profile.name, last.differences(expected).join("\n"));
    }
}

/// Waits until so many letters are there, and says what about.
async fn dead(relay: &Relay, count: usize) -> BTreeSet<(String, String)> {
    let about = |letter: Value| {
        let text = |name: &str| letter[name].as_str().unwrap_or_default().to_owned();
        (text("resource"), text("class"))
    };
    letters_of(relay, count).await.into_iter().map(about).collect()
}
