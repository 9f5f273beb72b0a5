//! Single rows of the design that random stories rarely meet.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use scim_relay::core::gap::Deprovisioning;
use scim_relay::core::operation::Method;
use scim_relay::core::resource::{ResourceKey, ResourceType};
use scim_relay::core::schedule::Millis;
use scim_relay::pipeline::settings::{Mode, Settings};

use super::events::{Part, Said, group, put_group, put_user, said, user};
use super::faults::{Chances, POISON, Poison};
use super::letters::class;
use super::target::Profile;
use super::world::{World, profile, run, settings};

/// Runs one replica over what `story` does.
fn day<F: AsyncFnOnce(&mut World)>(profile: Profile, settings: Settings, story: F) {
    run(async {
        let mut world = World::calm(profile, settings);
        world.start(1);
        story(&mut world).await;
        world.stop().await;
    });
}

/// When the first write of this method for this resource was processed.
fn processed_at(world: &World, key: &ResourceKey, method: Method) -> Option<Millis> {
    let processed = world.parts.target.processed();
    processed.iter().find(|p| p.key == *key && p.method == method && p.status < 300).map(|p| p.at)
}

fn dead_classes(world: &World) -> Vec<String> {
    world.parts.broker.dead().iter().map(class).collect()
}

#[test]
fn a_removal_that_is_refused_is_dead_lettered_once_and_blocks_nothing() {
    let mut profile = profile();
    profile.habits.stubborn = Some("title");
    day(profile, settings(), async |world| {
        world.publish(put_user(1, "ana"));
        world.rest().await;
        let attributes = vec![("userName", json!("ana@x"))];
        world.publish(said(2, user("ana"), Said::Put { attributes, active: None, members: None }));
        world.rest().await;
        assert_eq!(dead_classes(world), ["invalid"]);
        world.publish(said(3, user("ana"), Said::Patch(vec![Part::GivenName("given-3".into())])));
        world.rest().await;
        world.assert_converged();
    });
}

#[test]
fn a_deactivation_does_not_wait_for_the_batch_in_which_its_resource_was_written_before() {
    let mut settings = settings();
    settings.mode = Mode::Single;
    settings.concurrency = 1;
    day(profile(), settings, async |world| {
        let names: Vec<String> = (0..40).map(|number| format!("u-{number:02}")).collect();
        for (name, seq) in names.iter().zip(1..) {
            world.publish(put_user(seq, name));
        }
        while processed_at(world, &user("u-00"), Method::Post).is_none() {
            sleep(Duration::from_millis(50)).await;
        }
        sleep(Duration::from_millis(500)).await;
        let asked = world.parts.clock.now();
        world.publish(said(100, user("u-00"), Said::Deactivate));
        world.rest().await;
        let done = processed_at(world, &user("u-00"), Method::Patch).unwrap();
        assert!(done.since(asked) < Duration::from_secs(2), "{:?}", done.since(asked));
        world.assert_converged();
    });
}

#[test]
fn a_newer_event_does_not_wait_for_the_ladder() {
    let mut settings = settings();
    settings.ladder.delays = vec![Duration::from_secs(3600)];
    let mut profile = profile();
    profile.poison = Poison::BreaksServer;
    day(profile, settings, async |world| {
        let attributes = vec![("userName", json!("ana@x")), ("title", json!(POISON))];
        world.publish(said(1, user("ana"), Said::Put { attributes, active: None, members: None }));
        while world.parts.target.traffic().asked().count() < 3 {
            sleep(Duration::from_millis(5)).await;
        }
        world.publish(put_user(2, "ana"));
        sleep(Duration::from_secs(5)).await;
        world.assert_converged();
        world.rest().await;
    });
}

#[test]
fn a_group_hears_of_its_members_new_id_although_the_store_fails_at_that_moment() {
    let mut settings = settings();
    settings.user = Deprovisioning::Delete;
    day(profile(), settings, async |world| {
        world.publish(put_user(1, "ana"));
        world.publish(put_group(2, "crew", &["ana"]));
        world.rest().await;
        world.publish(said(3, user("ana"), Said::Delete));
        world.rest().await;
        for deaf in [1, 2, 3] {
            world.parts.store.deaf.store(deaf, Ordering::Relaxed);
            world.publish(put_user(10 * u64::from(deaf), "ana"));
            world.rest().await;
            world.assert_converged();
            world.publish(said(10 * u64::from(deaf) + 1, user("ana"), Said::Delete));
            world.rest().await;
        }
    });
}

#[test]
fn an_outage_dead_letters_nothing_however_few_resources_wait() {
    for number in 1..=7 {
        let mut settings = settings();
        settings.mode = if number % 2 == 0 { Mode::Single } else { Mode::Auto };
        day(profile(), settings, async |world| {
            world.publish(put_user(1, "first"));
            world.rest().await;
            world.parts.target.break_down(Duration::from_secs(4 * 3600));
            for seq in 0..number {
                world.publish(put_user(10 + seq, &format!("u-{seq}")));
            }
            world.publish(said(99, user("first"), Said::Deactivate));
            world.rest().await;
            assert_eq!(world.parts.broker.retries().len(), 0, "an attempt was used with {number} resources");
            assert_eq!(dead_classes(world), Vec::<String>::new());
            world.assert_converged();
        });
    }
}

#[test]
fn a_poison_operation_is_found_and_holds_up_nobody() {
    for poison in [Poison::Itself, Poison::RefusesBulk, Poison::BreaksServer] {
        let mut profile = profile();
        profile.poison = poison;
        day(profile, settings(), async |world| {
            for seq in 0..20 {
                world.publish(put_user(seq + 1, &format!("u-{seq}")));
            }
            let attributes = vec![("userName", json!("bad@x")), ("title", json!(POISON))];
            world.publish(said(50, user("bad"), Said::Put { attributes, active: None, members: None }));
            sleep(Duration::from_secs(60)).await;
            let there = world.parts.target.with(|directory| directory.all(ResourceType::User).count());
            assert_eq!(there, 20, "{poison:?}");
            world.rest().await;
            assert_eq!(dead_classes(world).len(), 1, "{poison:?}");
            world.assert_converged();
        });
    }
}

#[test]
fn a_bulk_that_is_too_large_is_halved_until_it_fits() {
    day(Profile { takes: 3, ..profile() }, settings(), async |world| {
        for seq in 0..20 {
            world.publish(put_user(seq + 1, &format!("u-{seq}")));
        }
        world.rest().await;
        assert_eq!(dead_classes(world), Vec::<String>::new());
        world.assert_converged();
    });
}

#[test]
fn without_a_bulk_endpoint_single_requests_do_the_same() {
    day(Profile { takes: 0, ..profile() }, settings(), async |world| {
        for seq in 0..20 {
            world.publish(put_user(seq + 1, &format!("u-{seq}")));
        }
        world.publish(put_group(50, "crew", &["u-1", "u-2"]));
        world.rest().await;
        world.assert_converged();
    });
}

#[test]
fn two_people_who_swap_their_names_are_never_joined() {
    day(profile(), settings(), async |world| {
        world.publish(put_user(1, "ana"));
        world.publish(put_user(2, "bob"));
        world.rest().await;
        world.publish(said(3, user("ana"), Said::Patch(vec![Part::Set("userName", "bob@x".into())])));
        world.publish(said(4, user("bob"), Said::Patch(vec![Part::Set("userName", "ana@x".into())])));
        world.rest().await;
        world.assert_converged();
    });
}

#[test]
fn a_name_that_is_given_up_later_is_taken_over_by_the_ladder() {
    day(profile(), settings(), async |world| {
        world.publish(put_user(1, "ana"));
        world.rest().await;
        let attributes = vec![("userName", json!("ana@x"))];
        world.publish(said(2, user("bob"), Said::Put { attributes, active: None, members: None }));
        sleep(Duration::from_secs(3)).await;
        world.publish(said(3, user("ana"), Said::Patch(vec![Part::Set("userName", "ana.b@x".into())])));
        world.rest().await;
        assert_eq!(dead_classes(world), Vec::<String>::new());
        world.assert_converged();
    });
}

#[test]
fn an_account_of_another_source_is_left_alone() {
    day(profile(), settings(), async |world| {
        let body = json!({ "userName": "ana@x", "externalId": "other", "title": "theirs" });
        world
            .parts
            .target
            .with(|directory| directory.insert(ResourceType::User, body.as_object().cloned().unwrap()));
        world.publish(put_user(1, "ana"));
        world.rest().await;
        assert_eq!(dead_classes(world), ["uniqueness"]);
        world.assert_converged();
        let kept = world
            .parts
            .target
            .with(|directory| directory.get("t-1").unwrap().text("title").map(str::to_owned));
        assert_eq!(kept.as_deref(), Some("theirs"));
    });
}

#[test]
fn a_kept_group_is_left_as_it_is() {
    let mut settings = settings();
    settings.group = Deprovisioning::Keep;
    day(profile(), settings, async |world| {
        world.publish(put_user(1, "ana"));
        world.publish(put_group(2, "crew", &["ana"]));
        world.rest().await;
        let before = world.parts.target.processed().len();
        world.publish(said(3, group("crew"), Said::Delete));
        world.rest().await;
        assert_eq!(world.parts.target.processed().len(), before, "something was sent");
    });
}

#[test]
fn a_backlog_costs_one_operation_for_each_changed_resource() {
    for mode in [Mode::Auto, Mode::Single] {
        let mut settings = settings();
        settings.mode = mode;
        run(async {
            let mut world = World::calm(profile(), settings);
            let people = 200;
            for seq in 0..2_000u64 {
                world.publish(put_user(seq + 1, &format!("u-{}", seq % people)));
            }
            for seq in 0..10u64 {
                let members: Vec<String> = (0..5).map(|n| format!("u-{}", seq * 5 + n)).collect();
                let members: Vec<&str> = members.iter().map(String::as_str).collect();
                world.publish(put_group(3_000 + seq, &format!("g-{seq}"), &members));
            }
            world.start(2);
            world.rest().await;
            world.assert_converged();
            let chunk = |p: &&super::target::Processed| {
                p.body.as_ref().is_some_and(|body| !body.to_string().contains("members\",\"value"))
            };
            let operations = world.parts.target.processed().iter().filter(chunk).count();
            assert!(operations * 100 <= 210 * 105, "{operations} operations for 210 resources");
            world.stop().await;
        });
    }
}

#[test]
fn what_is_lost_again_and_again_is_dead_lettered_and_looked_at() {
    day(profile(), settings(), async |world| {
        world.parts.target.suffer(Chances { lost_reply: 1000, ..Chances::default() });
        world.publish(put_group(1, "crew", &[]));
        world.rest().await;
        world.heal();
        world.publish(put_group(2, "crew", &[]));
        world.rest().await;
        world.assert_converged();
    });
}
