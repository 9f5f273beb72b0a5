//! An operation that makes the whole request fail which it is in: found by halving, while the rest goes on.

use std::time::Duration;

use serde_json::json;
use tokio::time::{sleep, timeout};

use scim_relay::core::resource::ResourceType;

use super::directory::Stored;
use super::events::{Event, Said, user};
use super::faults::{POISON, Poison};
use super::letters::homes;
use super::target::Profile;
use super::traffic::Kind;
use super::world::{World, profile, run, settings};

const PEOPLE: u64 = 200;
const OTHERS: usize = 199;
/// Halvings after which one of 200 is alone.
const HALVINGS: usize = 8;

fn put(seq: u64, n: u64, title: &str) -> Event {
    let attributes = vec![("userName", json!(format!("u-{n}@x"))), ("title", json!(title))];
    Event { seq, key: user(&format!("u-{n}")), said: Said::Put { attributes, active: None, members: None } }
}

/// Everybody is put at once, one of them as poison.
fn world(poison: Poison, bad: u64) -> World {
    let mut world = World::calm(Profile { poison, bulk: Some(500), ..profile() }, settings());
    for n in 0..PEOPLE {
        let title = if n == bad { POISON } else { "title" };
        world.publish(put(n + 1, n, title));
    }
    world.start(1);
    world
}

/// How many others have this title.
fn titled(world: &World, title: &str) -> usize {
    let has = |stored: &Stored| stored.text("title") == Some(title);
    world.parts.target.with(|directory| directory.all(ResourceType::User).filter(|(_, s)| has(s)).count())
}

/// Waits until all others have this title.
async fn until_titled(world: &World, title: &str, within: Duration) {
    let all = async {
        while titled(world, title) < OTHERS {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(within, all).await.unwrap();
}

/// `halving`: at most so many requests for each. `within`: then all others are there.
fn found_by_halving(poison: Poison, bad: u64, halving: usize, within: Duration) {
    run(async {
        let mut world = world(poison, bad);
        until_titled(&world, "title", within).await;
        let sizes: Vec<usize> =
            world.parts.target.traffic().of(Kind::Write).map(|write| write.operations).collect();
        assert_eq!(sizes[0], PEOPLE as usize);
        // the first, and in the end the one alone
        assert!(sizes.len() <= 1 + halving * HALVINGS + 1, "{sizes:?}");

        // nobody waits for it while it is on the ladder
        (0..PEOPLE).filter(|n| *n != bad).for_each(|n| world.publish(put(1_000 + n, n, "newer")));
        until_titled(&world, "newer", within).await;
        world.rest().await;
        let broker = &world.parts.broker;
        let letters = [broker.dead(), broker.retries()].concat();
        assert!(homes(&letters).keys().eq([&user(&format!("u-{bad}"))]), "somebody else used an attempt");
        assert_eq!(broker.dead().len(), 1);
        world.assert_converged();
        world.stop().await;
    });
}

#[test]
fn one_of_two_hundred_for_which_the_bulk_is_refused_is_found_by_halving_and_dies_alone() {
    for bad in [0, 137, 199] {
        found_by_halving(Poison::RefusesBulk, bad, 2, Duration::from_secs(5));
    }
}

#[test]
fn one_of_two_hundred_that_breaks_the_server_is_found_by_halving_and_dies_alone() {
    // after each success the next batch is twice as large, and meets it again
    for bad in [0, 137, 199] {
        found_by_halving(Poison::BreaksServer, bad, 5, Duration::from_secs(20));
    }
}
