//! Properties over many seeds. `SIM_SEEDS=5000` runs more of them, `SIM_SEED=17` only that one, with logs.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::time::sleep;

use super::dice::Dice;
use super::story::{Author, Size};
use super::world::{Weather, World, profile, run, settings};

/// Seeds of one property in the ordinary suite.
const SEEDS: u64 = 60;

/// Runs a property for each seed; says which one failed.
fn for_each_seed(property: impl Fn(u64)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SIM_SEED") {
        Some(seed) => {
            let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_test_writer().try_init();
            seed..seed + 1
        }
        None => 0..number("SIM_SEEDS").unwrap_or(SEEDS),
    };
    let mut failed = Vec::new();
    for seed in seeds {
        if catch_unwind(AssertUnwindSafe(|| property(seed))).is_err() {
            eprintln!("^^^ seed {seed}");
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "failed with SIM_SEED of {failed:?}");
}

#[test]
fn on_a_good_day_the_target_becomes_what_the_events_say() {
    for_each_seed(|seed| {
        run(async {
            let dice = Dice::new(seed, "story");
            let size = Size { rivals: false, ghosts: false, ..Size::draw(&dice) };
            let mut world = World::new(seed, profile(), settings(), Weather::default());
            let mut author = Author { dice: &dice, size, seq: 0 };
            world.start(1);
            for _ in 0..size.events {
                let event = author.event();
                world.publish(event);
                sleep(author.pause()).await;
            }
            world.rest().await;
            world.assert_converged();
            world.stop().await;
        });
    });
}
