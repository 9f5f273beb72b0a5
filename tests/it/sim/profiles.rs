//! What a profile forbids or promises, in the real pipeline.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use scim_relay::core::dialect::{Dialect, MemberRemoval, MemberValue, UpdateBy};
use scim_relay::core::gap::Deprovisioning;
use scim_relay::core::matching::Matcher;
use scim_relay::core::operation::Method;
use scim_relay::core::resource::{ResourceKey, ResourceType};
use scim_relay::pipeline::settings::Settings;

use super::events::{Event, Part, Said, group, user};
use super::letters::class;
use super::target::{Processed, Profile};
use super::traffic::Kind;
use super::world::{World, profile, run, settings};

fn put_user(seq: u64, name: &str, more: &[(&'static str, Value)]) -> Event {
    let mut attributes =
        vec![("userName", json!(format!("{name}@x"))), ("title", json!(format!("title-{seq}")))];
    attributes.extend(more.iter().cloned());
    Event { seq, key: user(name), said: Said::Put { attributes, active: None, members: None } }
}

fn put_group(seq: u64, name: &str, members: &[&str]) -> Event {
    let attributes = vec![("displayName", json!(name))];
    let members = Some(members.iter().map(|member| (*member).to_owned()).collect());
    Event { seq, key: group(name), said: Said::Put { attributes, active: None, members } }
}

fn delete(seq: u64, key: ResourceKey) -> Event {
    Event { seq, key, said: Said::Delete }
}

fn speaking(change: impl FnOnce(&mut Dialect)) -> Settings {
    let mut dialect = Dialect::default();
    change(&mut dialect);
    Settings { dialect: Arc::new(dialect), ..settings() }
}

/// Runs one replica over what `story` does.
fn day<F: AsyncFnOnce(&mut World)>(profile: Profile, settings: Settings, story: F) {
    run(async {
        let mut world = World::calm(profile, settings);
        world.start(1);
        story(&mut world).await;
        world.stop().await;
    });
}

fn body(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn dead_classes(world: &World) -> Vec<String> {
    world.parts.broker.dead().iter().map(class).collect()
}

fn processed(world: &World, key: &ResourceKey) -> Vec<Processed> {
    let all = world.parts.target.processed();
    all.into_iter().filter(|it| it.key == *key).collect()
}

fn methods(world: &World, key: &ResourceKey) -> Vec<Method> {
    processed(world, key).iter().map(|it| it.method).collect()
}

#[test]
fn a_group_that_is_only_matched_gets_its_members_and_one_that_matches_none_is_not_supported() {
    let settings = speaking(|dialect| (dialect.groups.create, dialect.groups.delete) = (false, false));
    day(profile(), settings, async |world| {
        let sales = world
            .parts
            .target
            .with(|directory| directory.insert(ResourceType::Group, body(json!({"displayName": "sales"}))));
        world.publish(put_user(1, "ana", &[]));
        world.publish(put_group(2, "sales", &["ana"]));
        world.publish(put_group(3, "nowhere", &["ana"]));
        world.rest().await;
        assert_eq!(dead_classes(world), ["not_supported"]);
        let members = world.parts.target.with(|it| it.get(&sales).unwrap().members().len());
        assert_eq!(members, 1);
        assert!(methods(world, &group("nowhere")).is_empty());
        assert!(!methods(world, &group("sales")).contains(&Method::Post));
    });
}

#[test]
fn what_can_not_be_deleted_stays_and_is_not_supported() {
    let settings = speaking(|dialect| (dialect.users.delete, dialect.groups.delete) = (false, false));
    let settings = Settings { user: Deprovisioning::Delete, ..settings };
    day(profile(), settings, async |world| {
        world.publish(put_user(1, "ana", &[]));
        world.publish(put_group(2, "sales", &[]));
        world.rest().await;
        world.publish(delete(3, user("ana")));
        world.publish(delete(4, group("sales")));
        world.rest().await;
        assert_eq!(dead_classes(world), ["not_supported", "not_supported"]);
        let left = world
            .parts
            .target
            .with(|it| ResourceType::ALL.into_iter().map(|kind| it.all(kind).count()).collect::<Vec<_>>());
        assert_eq!(left, [1, 1]);
        // a newer event goes through
        world.publish(put_user(5, "ana", &[]));
        world.rest().await;
        assert_eq!(dead_classes(world).len(), 2);
        assert_eq!(methods(world, &user("ana")), [Method::Post, Method::Patch]);
    });
}

#[test]
fn deactivating_needs_no_delete() {
    day(profile(), speaking(|dialect| dialect.users.delete = false), async |world| {
        world.publish(put_user(1, "ana", &[]));
        world.rest().await;
        world.publish(delete(2, user("ana")));
        world.rest().await;
        assert!(dead_classes(world).is_empty());
        world.assert_converged();
    });
}

#[test]
fn users_are_updated_by_put_where_the_dialect_says_so_and_groups_by_patch() {
    day(profile(), speaking(|dialect| dialect.users.update = UpdateBy::Put), async |world| {
        world.publish(put_user(1, "ana", &[]));
        world.publish(put_group(2, "sales", &[]));
        world.rest().await;
        world.publish(put_user(3, "ana", &[]));
        world.publish(put_group(4, "sales", &["ana"]));
        world.rest().await;
        assert_eq!(methods(world, &user("ana")), [Method::Post, Method::Put]);
        assert_eq!(methods(world, &group("sales")), [Method::Post, Method::Patch]);
        world.assert_converged();
    });
}

#[test]
fn members_go_in_the_dialects_way_and_no_more_at_once_than_it_allows() {
    let settings = speaking(|dialect| {
        (dialect.removal, dialect.members_per_request) = (MemberRemoval::ValueList, 2);
    });
    day(profile(), settings, async |world| {
        let names = ["a", "b", "c", "d", "e"];
        for (name, seq) in names.iter().zip(1..) {
            world.publish(put_user(seq, name, &[]));
        }
        world.rest().await;
        world.publish(put_group(10, "sales", &names));
        world.rest().await;
        world.publish(put_group(11, "sales", &["a"]));
        world.rest().await;
        let changes = processed(world, &group("sales"));
        let listed = |it: &Processed| match it.body.as_ref().unwrap() {
            body if it.method == Method::Post => body["members"].as_array().unwrap().len(),
            body => body["Operations"][0]["value"].as_array().unwrap().len(),
        };
        assert_eq!(changes.iter().map(listed).collect::<Vec<_>>(), [2, 2, 1, 2, 2]);
        let last = changes.last().unwrap().body.clone().unwrap();
        assert_eq!(
            (&last["Operations"][0]["op"], &last["Operations"][0]["path"]),
            (&json!("remove"), &json!("members"))
        );
        world.assert_converged();
    });
}

#[test]
fn where_a_second_post_is_refused_no_lookup_comes_before_the_first() {
    let lookups = |settings: Settings| {
        run(async {
            let mut world = World::calm(profile(), settings);
            // not an empty target, in which nothing is looked up anyway
            let taken = json!({"userName": "bob@x"});
            world.parts.target.with(|it| it.insert(ResourceType::User, body(taken)));
            world.start(1);
            world.publish(put_user(1, "ana", &[]));
            world.rest().await;
            let lookups = world.parts.target.traffic().of(Kind::Lookup).count();
            world.publish(put_user(2, "bob", &[]));
            world.rest().await;
            assert_eq!(world.parts.target.with(|it| it.all(ResourceType::User).count()), 2, "bob is adopted");
            assert!(dead_classes(&world).is_empty());
            world.stop().await;
            lookups
        })
    };
    let census = 2;
    assert_eq!(lookups(speaking(|dialect| dialect.users.refuses_existing = true)), census);
    assert_eq!(lookups(settings()), census + 1);
}

#[test]
fn an_external_id_that_is_not_ours_to_say_is_neither_heeded_nor_written() {
    let settings = speaking(|dialect| dialect.users.matching = vec![Matcher::UserName]);
    day(profile(), settings, async |world| {
        let id = world.parts.target.with(|directory| {
            directory.insert(ResourceType::User, body(json!({"userName": "ana@x", "externalId": "theirs"})))
        });
        world.publish(put_user(1, "ana", &[]));
        world.publish(put_user(2, "bob", &[]));
        world.rest().await;
        assert!(dead_classes(world).is_empty());
        world.parts.target.with(|directory| {
            let ana = directory.get(&id).unwrap();
            assert_eq!((ana.text("externalId"), ana.text("title")), (Some("theirs"), Some("title-1")));
            let ids = directory.all(ResourceType::User).map(|(_, it)| it.text("externalId"));
            assert_eq!(ids.collect::<Vec<_>>(), [Some("theirs"), None]);
        });
    });
}

/// The members of a group as they are written there.
fn written(world: &World, name: &str) -> Vec<String> {
    world.parts.target.with(|directory| {
        let groups = directory.with_external_id(ResourceType::Group, name);
        groups.first().map(|(_, stored)| stored.members().into_iter().collect()).unwrap_or_default()
    })
}

#[test]
fn users_are_members_by_the_name_that_they_have_at_the_target() {
    for update in [UpdateBy::Patch, UpdateBy::Put] {
        let settings = speaking(|dialect| {
            (dialect.member_value, dialect.groups.update) = (MemberValue::UserName, update);
        });
        day(profile(), settings, async |world| {
            // of the same batch, but not in the same request: a bulkId is no name
            for (name, seq) in ["ana", "bo", "eve"].iter().zip(1..) {
                world.publish(put_user(seq, name, &[]));
            }
            world.publish(put_group(4, "sales", &["ana", "bo", "eve"]));
            world.rest().await;
            assert_eq!(written(world, "sales"), ["ana@x", "bo@x", "eve@x"]);
            world.publish(Event { seq: 5, key: user("bo"), said: renamed("Bob@x") });
            world.rest().await;
            // as providers do that keep names
            let sales = world.parts.target.with(|it| {
                let found = it.with_external_id(ResourceType::Group, "sales")[0].0.clone();
                it.edit(&found, |body| {
                    body["members"] = json!([{"value": "ana@x"}, {"value": "BOB@x"}, {"value": "eve@x"}]);
                });
                found
            });
            let gone = Said::Patch(vec![Part::DropMembers(vec!["bo".into(), "eve".into()])]);
            world.publish(Event { seq: 6, key: group("sales"), said: gone });
            world.rest().await;
            let last = processed(world, &group("sales")).pop().unwrap().body.unwrap().to_string();
            match update {
                UpdateBy::Patch => assert!(last.contains(r#"members[value eq \"Bob@x\"]"#), "{last}"),
                UpdateBy::Put => assert_eq!(written(world, "sales"), ["ana@x"]),
            }
            world.parts.target.with(|it| it.edit(&sales, |body| body["members"] = json!([])));
            assert!(dead_classes(world).is_empty());
        });
    }
}

fn renamed(name: &str) -> Said {
    Said::Patch(vec![Part::Set("userName", name.into())])
}

#[test]
fn who_is_created_again_under_the_same_name_is_added_again() {
    let settings = speaking(|dialect| dialect.member_value = MemberValue::UserName);
    let settings = Settings { user: Deprovisioning::Delete, ..settings };
    day(profile(), settings, async |world| {
        world.publish(put_user(1, "ana", &[]));
        world.publish(put_group(2, "sales", &["ana"]));
        world.rest().await;
        world.publish(delete(3, user("ana")));
        world.rest().await;
        world.parts.target.with(|it| {
            let found = it.with_external_id(ResourceType::Group, "sales")[0].0.clone();
            it.edit(&found, |body| body["members"] = json!([]));
        });
        world.publish(put_user(4, "ana", &[]));
        world.rest().await;
        assert_eq!(written(world, "sales"), ["ana@x"]);
    });
}

#[test]
fn strangers_are_told_apart_by_name_in_any_case() {
    let settings = speaking(|dialect| dialect.member_value = MemberValue::UserName);
    let settings = Settings { members_are_authoritative: true, ..settings };
    day(profile(), settings, async |world| {
        world.publish(put_user(1, "ana", &[]));
        world.publish(put_group(2, "sales", &["ana"]));
        world.rest().await;
        world.parts.target.with(|it| {
            let found = it.with_external_id(ResourceType::Group, "sales")[0].0.clone();
            it.edit(&found, |body| body["members"] = json!([{"value": "ANA@x"}, {"value": "guest@x"}]));
        });
        world.publish(put_group(3, "sales", &["ana"]));
        world.rest().await;
        assert_eq!(written(world, "sales"), ["ANA@x"]);
    });
}

/// Ana and Bo are in Sales, where somebody else adds two guests; then the source says who is in it.
fn sales_with_guests(
    habits: impl FnOnce(&mut Profile),
    dialect: impl FnOnce(&mut Dialect),
    said: &[&str],
    check: impl AsyncFnOnce(&mut World, Vec<Processed>),
) {
    let mut profile = profile();
    habits(&mut profile);
    let settings = Settings { members_are_authoritative: true, ..speaking(dialect) };
    day(profile, settings, async |world| {
        world.publish(put_user(1, "ana", &[]));
        world.publish(put_user(2, "bo", &[]));
        world.publish(put_group(3, "sales", &["ana", "bo"]));
        world.rest().await;
        world.parts.target.with(|it| {
            let found = it.with_external_id(ResourceType::Group, "sales")[0].0.clone();
            it.edit(&found, |body| {
                let members = body["members"].as_array_mut().unwrap();
                members.extend([json!({"value": "guest-1"}), json!({"value": "guest-2"})]);
            });
        });
        let before = processed(world, &group("sales")).len();
        world.publish(put_group(4, "sales", said));
        world.rest().await;
        let after = processed(world, &group("sales")).split_off(before);
        check(world, after).await;
    });
}

fn operations(processed: &[Processed]) -> Vec<Value> {
    let of = |it: &Processed| it.body.as_ref().unwrap()["Operations"].as_array().unwrap().clone();
    processed.iter().filter(|it| it.status < 300).flat_map(of).collect()
}

#[test]
fn where_members_are_not_listed_one_replace_makes_the_source_s_list_the_list() {
    let habits = |it: &mut Profile| (it.habits.lists_members, it.habits.whole_lists) = (false, true);
    let dialect = |it: &mut Dialect| (it.members_listed, it.replace_members) = (false, true);
    sales_with_guests(habits, dialect, &["bo", "ana"], async |world, after| {
        let all = operations(&after);
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!((&all[0]["op"], &all[0]["path"]), (&json!("replace"), &json!("members")));
        assert_eq!(written(world, "sales").len(), 2);
        world.assert_converged();
    });
    sales_with_guests(habits, dialect, &[], async |world, after| {
        assert_eq!(operations(&after).last().unwrap()["value"], json!([]));
        assert!(written(world, "sales").is_empty());
    });
}

#[test]
fn a_list_that_does_not_fit_or_may_not_be_replaced_leaves_the_guests_alone() {
    for may_replace in [true, false] {
        let habits = |it: &mut Profile| it.habits.lists_members = false;
        let dialect = |it: &mut Dialect| {
            (it.members_listed, it.replace_members, it.members_per_request) = (false, may_replace, 1);
        };
        sales_with_guests(habits, dialect, &["ana", "bo"], async |world, after| {
            assert!(after.is_empty(), "{after:?}");
            assert_eq!(written(world, "sales").len(), 4);
            assert!(dead_classes(world).is_empty());
        });
    }
}

#[test]
fn all_members_go_at_once_only_where_that_is_allowed_and_nobody_is_to_stay() {
    let habits = |it: &mut Profile| it.habits.whole_lists = true;
    let all_at_once = json!({"op": "remove", "path": "members"});
    for (allowed, said, at_once) in
        [(true, &[][..], true), (false, &[][..], false), (true, &["ana"][..], false)]
    {
        let dialect = |it: &mut Dialect| it.remove_all_members = allowed;
        sales_with_guests(habits, dialect, said, async |world, after| {
            assert_eq!(operations(&after).contains(&all_at_once), at_once, "{after:?}");
            assert_eq!(written(world, "sales").len(), said.len());
        });
    }
}

#[test]
fn a_target_that_refuses_the_whole_list_is_asked_once_for_each_put() {
    let dialect = |it: &mut Dialect| (it.members_listed, it.replace_members) = (false, true);
    let habits = |it: &mut Profile| it.habits.lists_members = false;
    sales_with_guests(habits, dialect, &["ana", "bo"], async |world, after| {
        assert_eq!(after.iter().filter(|it| it.status == 400).count(), 1, "{after:?}");
        assert_eq!(dead_classes(world), ["invalid", "invalid"]);
    });
}

#[test]
fn who_was_deleted_and_is_only_hidden_is_revived_when_re_hired() {
    let mut soft = profile();
    soft.habits.soft_delete = true;
    day(soft, Settings { user: Deprovisioning::Delete, ..settings() }, async |world| {
        world.publish(put_user(1, "ana", &[]));
        world.publish(put_group(2, "sales", &["ana"]));
        world.rest().await;
        world.publish(delete(3, user("ana")));
        world.rest().await;
        world.publish(put_user(4, "ana", &[]));
        world.rest().await;
        let all = processed(world, &user("ana"));
        let seen: Vec<(Method, u16)> = all.iter().map(|it| (it.method, it.status)).collect();
        assert_eq!(
            seen,
            [(Method::Post, 201), (Method::Delete, 204), (Method::Post, 409), (Method::Patch, 200)]
        );
        assert!(dead_classes(world).is_empty());
        world.assert_converged();
    });
}

#[test]
fn a_name_that_somebody_hidden_holds_is_refused_in_the_end() {
    let mut soft = profile();
    soft.habits.soft_delete = true;
    day(soft, Settings { user: Deprovisioning::Delete, ..settings() }, async |world| {
        world.publish(put_user(1, "ana", &[]));
        world.rest().await;
        world.publish(delete(2, user("ana")));
        world.rest().await;
        // somebody else with the leaver's name
        let attributes = vec![("userName", json!("ana@x"))];
        let said = Said::Put { attributes, active: None, members: None };
        world.publish(Event { seq: 3, key: user("eve"), said });
        world.rest().await;
        assert_eq!(dead_classes(world), ["uniqueness"]);
    });
}
