//! Groups in groups: a member of type `Group` is the group of that name.

use std::time::Duration;

use serde_json::Value;

use scim_relay::core::resource::{ResourceKey, ResourceType};
use scim_relay::pipeline::settings::{Mode, Settings};

use super::events::{Event, Part, Said, group, put_group, put_user};
use super::world::{World, profile, run, settings};

fn id(world: &World, key: &ResourceKey) -> Option<String> {
    world.parts.target.with(|directory| {
        directory.with_external_id(key.kind, key.external_id.as_str()).first().map(|(id, _)| (*id).clone())
    })
}

/// The members of a group, as `User/ana` and the like.
fn members(world: &World, name: &str) -> Vec<String> {
    world.parts.target.with(|directory| {
        let groups = directory.with_external_id(ResourceType::Group, name);
        let ids = groups.first().map(|(_, stored)| stored.members()).unwrap_or_default();
        let key = |id: &String| {
            let stored = directory.get(id).unwrap();
            format!("{}/{}", stored.kind, stored.text("externalId").unwrap())
        };
        let mut members: Vec<String> = ids.iter().map(key).collect();
        members.sort();
        members
    })
}

fn day(settings: Settings, story: impl AsyncFnOnce(&mut World)) {
    run(async {
        let mut world = World::calm(profile(), settings);
        world.start(1);
        story(&mut world).await;
        assert!(world.parts.broker.dead().is_empty());
        world.stop().await;
    });
}

fn bodies(world: &World, key: &ResourceKey) -> Vec<Value> {
    let all = world.parts.target.processed();
    all.into_iter().filter(|it| it.key == *key).filter_map(|it| it.body).collect()
}

#[test]
fn a_group_in_a_group_is_created_before_it_in_one_request() {
    day(settings(), async |world| {
        // the names would have them the other way round
        world.publish(put_group(1, "a", &["Group/b", "ana"]));
        world.publish(put_group(2, "b", &["Group/c"]));
        world.publish(put_group(3, "c", &["ana"]));
        world.publish(put_user(4, "ana"));
        world.rest().await;
        assert_eq!(members(world, "a"), ["Group/b", "User/ana"]);
        assert_eq!(
            (members(world, "b"), members(world, "c")),
            (vec!["Group/c".into()], vec!["User/ana".into()])
        );
        let bodies = bodies(world, &group("a"));
        assert_eq!(bodies.len(), 1, "{bodies:?}");
        let listed = bodies[0]["members"].as_array().unwrap();
        assert!(listed.iter().any(|it| it["type"] == "Group"), "{listed:?}");
    });
}

#[test]
fn a_group_and_a_user_of_the_same_name_are_two() {
    day(settings(), async |world| {
        world.publish(put_group(1, "a", &["Group/x"]));
        world.publish(put_group(2, "b", &["x"]));
        world.publish(put_group(3, "x", &[]));
        world.publish(put_user(4, "x"));
        world.rest().await;
        assert_eq!(
            (members(world, "a"), members(world, "b")),
            (vec!["Group/x".into()], vec!["User/x".into()])
        );
    });
}

#[test]
fn a_group_that_is_not_there_yet_is_pending_and_added_when_it_comes() {
    for mode in [Mode::Auto, Mode::Single] {
        day(Settings { mode, ..settings() }, async |world| {
            world.publish(put_group(1, "a", &["Group/b"]));
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert!(id(world, &group("a")).is_some() && members(world, "a").is_empty());
            world.publish(put_group(2, "b", &[]));
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(members(world, "a"), ["Group/b"]);
            world.rest().await;
        });
    }
}

#[test]
fn groups_may_list_each_other() {
    for mode in [Mode::Auto, Mode::Single] {
        day(Settings { mode, ..settings() }, async |world| {
            world.publish(put_group(1, "a", &["Group/b"]));
            world.publish(put_group(2, "b", &["Group/a"]));
            world.publish(put_group(3, "c", &["Group/c", "Group/a"]));
            world.rest().await;
            assert_eq!(members(world, "a"), ["Group/b"]);
            assert_eq!((members(world, "b"), members(world, "c").len()), (vec!["Group/a".into()], 2));
        });
    }
}

#[test]
fn a_group_leaves_a_group_by_its_name_alone_and_a_new_one_of_that_name_is_added_again() {
    day(settings(), async |world| {
        world.publish(put_group(1, "a", &["Group/b", "Group/c"]));
        world.publish(put_group(2, "b", &[]));
        world.publish(put_group(3, "c", &[]));
        world.rest().await;
        let gone = Said::Patch(vec![Part::DropMembers(vec!["b".into()])]);
        world.publish(Event { seq: 4, key: group("a"), said: gone });
        world.publish(Event { seq: 5, key: group("c"), said: Said::Delete });
        world.rest().await;
        let c = id(world, &group("c"));
        assert_eq!(c, None);
        world.publish(put_group(6, "c", &[]));
        world.rest().await;
        let new = id(world, &group("c")).unwrap();
        let ids = world.parts.target.with(|it| it.with_external_id(ResourceType::Group, "a")[0].1.members());
        assert!(ids.contains(&new), "{ids:?}");
        assert!(!ids.contains(&id(world, &group("b")).unwrap()));
    });
}
