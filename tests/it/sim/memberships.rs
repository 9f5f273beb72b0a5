//! The memberships of a deactivated user: kept, or removed until it comes back.

use std::time::Duration;

use scim_relay::core::listing::Memberships;
use scim_relay::core::resource::{ResourceKey, ResourceType};
use scim_relay::pipeline::settings::Settings;

use super::events::{Part, Said, group, put_group, put_user, said, user};
use super::faults::Chances;
use super::world::{World, profile, run, settings};

/// The members of a group by name.
fn members(world: &World, name: &str) -> Vec<String> {
    world.parts.target.with(|directory| {
        let groups = directory.with_external_id(ResourceType::Group, name);
        let ids = groups.first().map(|(_, stored)| stored.members()).unwrap_or_default();
        let names = ids.iter().map(|id| directory.get(id).unwrap().text("externalId").unwrap().to_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    })
}

/// Ana and Bo, in two groups, with one replica.
fn two_groups(memberships: Memberships, story: impl AsyncFnOnce(&mut World)) {
    run(async {
        let mut world = World::calm(profile(), Settings { memberships, ..settings() });
        world.start(1);
        world.publish(put_user(1, "ana"));
        world.publish(put_user(2, "bo"));
        world.publish(put_group(3, "sales", &["ana", "bo"]));
        world.publish(put_group(4, "crew", &["ana"]));
        world.rest().await;
        story(&mut world).await;
        world.assert_converged();
        world.stop().await;
    });
}

#[test]
fn who_is_deactivated_loses_its_memberships_after_that_and_gets_them_back_when_re_hired() {
    two_groups(Memberships::Remove, async |world| {
        world.publish(said(5, user("ana"), Said::Deactivate));
        world.rest().await;
        assert_eq!((members(world, "sales"), members(world, "crew")), (vec!["bo".to_owned()], vec![]));
        let order: Vec<ResourceKey> =
            world.parts.target.processed()[4..].iter().map(|it| it.key.clone()).collect();
        assert_eq!(order[0], user("ana"), "first, and alone");
        let bodies =
            world.parts.target.processed()[4..].iter().map(|it| it.body.clone().unwrap()).collect::<Vec<_>>();
        assert!(
            bodies[1..].iter().all(|body| body["Operations"].as_array().unwrap().len() == 1),
            "{bodies:?}"
        );
        world.publish(said(6, user("ana"), Said::Activate));
        world.rest().await;
        assert_eq!((members(world, "sales").len(), members(world, "crew")), (2, vec!["ana".to_owned()]));
    });
}

#[test]
fn who_was_deleted_comes_back_into_the_groups_that_still_list_it() {
    two_groups(Memberships::Remove, async |world| {
        world.publish(said(5, user("ana"), Said::Delete));
        world.rest().await;
        world.publish(said(6, group("crew"), Said::Patch(vec![Part::DropMembers(vec!["ana".into()])])));
        world.publish(said(7, group("sales"), Said::Patch(vec![Part::Set("displayName", "sales-7".into())])));
        world.rest().await;
        assert_eq!(members(world, "sales"), ["bo"]);
        world.publish(put_user(8, "ana"));
        world.rest().await;
        assert_eq!((members(world, "sales").len(), members(world, "crew")), (2, vec![]));
    });
}

#[test]
fn a_group_that_lists_who_has_left_waits_for_nobody() {
    two_groups(Memberships::Remove, async |world| {
        world.publish(said(5, user("ana"), Said::Deactivate));
        world.rest().await;
        world.publish(put_group(6, "board", &["ana", "bo"]));
        world.publish(put_group(7, "sales", &["ana"]));
        world.rest().await;
        assert_eq!((members(world, "board"), members(world, "sales")), (vec!["bo".to_owned()], vec![]));
        world.publish(said(8, user("ana"), Said::Activate));
        world.rest().await;
        assert_eq!((members(world, "board").len(), members(world, "sales")), (2, vec!["ana".to_owned()]));
    });
}

#[test]
fn memberships_stay_where_nothing_else_is_configured() {
    two_groups(Memberships::Keep, async |world| {
        let before = world.parts.target.processed().len();
        world.publish(said(5, user("ana"), Said::Deactivate));
        world.rest().await;
        assert_eq!((members(world, "sales").len(), members(world, "crew").len()), (2, 1));
        assert_eq!(world.parts.target.processed().len(), before + 1);
    });
}

#[test]
fn an_answer_that_gets_lost_loses_no_group() {
    two_groups(Memberships::Remove, async |world| {
        world.parts.target.suffer(Chances { lost_reply: 1000, ..Chances::default() });
        world.publish(said(5, user("ana"), Said::Deactivate));
        tokio::time::sleep(Duration::from_secs(30)).await;
        world.heal();
        world.rest().await;
        assert_eq!((members(world, "sales"), members(world, "crew")), (vec!["bo".to_owned()], vec![]));
    });
}
