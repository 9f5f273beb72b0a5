//! What the relay remembers, and what it has forgotten: a journal that is shorter than the story, and losses of the store.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use scim_relay::core::resource::ResourceType;
use scim_relay::pipeline::ports::{Header, Message};
use scim_relay::pipeline::settings::Settings;

use super::events::{Event, Said, group, user};
use super::faults::{Outage, POISON};
use super::letters::class;
use super::world::{World, profile, run, settings};

/// How long the journal keeps what enters.
const KEPT: Duration = Duration::from_secs(2 * 3_600);
const MOMENT: Duration = Duration::from_secs(900);

fn title(seq: u64, name: &str, title: &str) -> Event {
    let attributes = vec![("userName", json!(format!("{name}@x"))), ("title", json!(title))];
    Event { seq, key: user(name), said: Said::Put { attributes, active: None, members: None } }
}

fn titled(world: &World, name: &str) -> Option<Value> {
    world.parts.target.with(|directory| {
        let found = directory.with_external_id(ResourceType::User, name);
        found.first().and_then(|(_, stored)| stored.body.get("title").cloned())
    })
}

/// A world whose journal is truncated.
fn world() -> World {
    let world = World::calm(profile(), settings());
    world.parts.broker.keep(KEPT);
    world
}

/// Publishes the one dead letter again, as a replay does.
fn replay(world: &World, accepted: bool) {
    let letter = world.parts.broker.dead().last().unwrap().clone();
    let Some(Header::Text(key)) = letter.headers.get("x-relay-routing-key") else { panic!("{letter:?}") };
    let mut message = Message { exchange: "intake".into(), routing_key: key.clone(), ..letter.clone() };
    message.headers.clear();
    message.headers.insert("x-relay-replays".into(), Header::Int(1));
    if accepted {
        message.headers.insert("x-relay-accept-stale".into(), Header::Bool(true));
    }
    world.parts.broker.enter(message);
}

/// A change is dead-lettered; a newer one is applied a little later; so much later the store is lost.
async fn lost_after(age: Duration) -> World {
    let mut world = world();
    world.start(1);
    world.publish(title(1, "u-1", POISON));
    world.rest().await;
    assert_eq!(classes(&world), ["invalid"]);
    world.parts.target.tolerate();
    sleep(MOMENT).await;
    world.publish(title(2, "u-1", "new"));
    world.rest().await;
    sleep(age).await;
    world.parts.store.memory.wipe();
    world.rest().await;
    world
}

fn classes(world: &World) -> Vec<String> {
    world.parts.broker.dead().iter().map(class).collect()
}

#[test]
fn a_letter_from_before_the_journal_s_beginning_is_not_applied_to_a_younger_store() {
    run(async {
        let mut world = lost_after(KEPT * 2).await;
        replay(&world, false);
        world.rest().await;
        assert_eq!(classes(&world), ["invalid", "stale_unknown"]);
        assert_eq!(titled(&world, "u-1"), Some(json!("new")));
        let letter = world.parts.broker.dead().pop().unwrap();
        assert_eq!(letter.headers["x-relay-resource"], Header::Text("User/u-1".into()));
        world.stop().await;
    });
}

#[test]
fn an_operator_who_accepts_that_it_is_old_has_it_applied() {
    run(async {
        let mut world = lost_after(KEPT * 2).await;
        replay(&world, true);
        world.rest().await;
        assert_eq!((classes(&world).len(), titled(&world, "u-1")), (1, Some(json!(POISON))));
        world.stop().await;
    });
}

#[test]
fn a_letter_that_the_journal_knows_to_be_superseded_is() {
    run(async {
        let mut world = lost_after(MOMENT).await;
        replay(&world, false);
        world.rest().await;
        assert_eq!((classes(&world).len(), titled(&world, "u-1")), (1, Some(json!("new"))));
        world.stop().await;
    });
}

#[test]
fn an_old_letter_is_applied_as_long_as_the_store_remembers_it() {
    run(async {
        let settings = Settings { tombstone_ttl: KEPT, ..settings() };
        let mut world = World::calm(profile(), settings);
        world.start(1);
        world.publish(title(1, "u-1", POISON));
        world.rest().await;
        world.parts.target.tolerate();
        sleep(KEPT).await;
        replay(&world, false);
        world.rest().await;
        assert_eq!((classes(&world).len(), titled(&world, "u-1")), (1, Some(json!(POISON))));
        world.stop().await;
    });
}

/// People are put and one of them leaves while the target is down, for longer than the journal keeps anything; then the store
/// is lost.
#[test]
fn an_outage_that_outlasts_the_journal_and_a_loss_of_the_store_lose_nothing() {
    run(async {
        let mut world = World::calm(profile(), Settings { journal: Some(KEPT), ..settings() });
        world.parts.broker.keep(KEPT);
        world.start(2);
        world.publish(title(1, "u-0", "first"));
        world.rest().await;
        world.parts.target.fail(KEPT * 3, Outage::Any);
        for n in 0..5 {
            world.publish(title(2, &format!("u-{n}"), "second"));
        }
        let members = Some((0..5).map(|n| format!("u-{n}")).collect());
        let attributes = vec![("displayName", json!("all"))];
        world.publish(Event {
            seq: 3,
            key: group("g"),
            said: Said::Put { attributes, active: None, members },
        });
        world.publish(Event { seq: 4, key: user("u-4"), said: Said::Deactivate });
        sleep(KEPT * 5 / 2).await;
        world.parts.store.memory.wipe();
        world.rest().await;
        world.assert_converged();
        assert_eq!((classes(&world).len(), titled(&world, "u-3")), (0, Some(json!("second"))));
        world.stop().await;
    });
}
