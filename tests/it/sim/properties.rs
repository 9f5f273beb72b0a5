//! Properties over many seeds. `SIM_SEEDS=5000` runs more of them, `SIM_SEED=17` only that one, with logs.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::faults::Chances;
use super::scenario::{Losses, Scenario};
use super::world::run;

/// Seeds of one property in the ordinary suite.
const SEEDS: u64 = 60;

/// Runs a property for each seed; says which one failed.
fn for_each_seed(property: impl Fn(u64)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SIM_SEED") {
        Some(seed) => {
            let _ =
                tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_test_writer().try_init();
            seed..seed + 1
        }
        None => 0..number("SIM_SEEDS").unwrap_or(SEEDS),
    };
    let mut failed = Vec::new();
    for seed in seeds {
        if std::env::var("SIM_VERBOSE").is_ok() {
            eprintln!("seed {seed}");
        }
        if catch_unwind(AssertUnwindSafe(|| property(seed))).is_err() {
            eprintln!("^^^ seed {seed}");
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "failed with SIM_SEED of {failed:?}");
}

/// Lives a scenario through, and compares.
fn live(scenario: Scenario) {
    run(async {
        let mut world = scenario.live().await;
        world.assert_converged();
        world.stop().await;
    });
}

#[test]
fn on_a_good_day_the_target_becomes_what_the_events_say() {
    for_each_seed(|seed| live(Scenario::calm(seed)));
}

#[test]
fn whatever_the_target_can_do_it_becomes_what_the_events_say() {
    for_each_seed(|seed| live(Scenario::calm(seed).with_any_target()));
}

#[test]
fn deliveries_come_in_any_order_and_number() {
    for_each_seed(|seed| live(Scenario::calm(seed).with_any_target().with_disorder()));
}

#[test]
fn a_target_that_fails_becomes_what_the_events_say_once_it_heals() {
    for_each_seed(|seed| live(Scenario::calm(seed).with_any_target().with_bad_target()));
}

#[test]
fn replicas_that_die_leave_nothing_undone() {
    for_each_seed(|seed| live(Scenario::calm(seed).with_any_target().with_crashes()));
}

#[test]
fn everything_at_once() {
    for_each_seed(|seed| {
        let bad = Scenario::calm(seed).with_any_target().with_disorder().with_bad_target();
        live(bad.with_crashes().with_strangers());
    });
}

#[test]
fn what_was_dead_lettered_and_is_replayed_is_applied() {
    for_each_seed(|seed| {
        let mut scenario = Scenario::calm(seed).with_any_target().with_disorder();
        scenario.size.rivals = false;
        scenario.weather.target = Chances { failed: 900, ..Chances::default() };
        run(async {
            let mut world = scenario.live().await;
            world.assert_converged();
            world.replay();
            world.rest().await;
            world.assert_converged();
            world.stop().await;
        });
    });
}

#[test]
fn a_seed_tells_the_same_story_again() {
    let tell = |seed| {
        run(async {
            let bad = Scenario::calm(seed).with_any_target().with_disorder().with_bad_target();
            let mut world = bad.with_crashes().with_strangers().live().await;
            world.stop().await;
            let processed = world.parts.target.processed();
            processed.iter().map(ToString::to_string).collect::<Vec<_>>()
        })
    };
    for seed in 1000..1005 {
        assert_eq!(tell(seed), tell(seed), "seed {seed}");
    }
}

#[test]
fn a_store_that_loses_everything_is_recovered_from_the_journal() {
    for_each_seed(|seed| live(Scenario::calm(seed).with_any_target().with_losses(Losses::All)));
}

#[test]
fn a_store_that_loses_the_last_moments_is_recovered_from_the_journal() {
    for_each_seed(|seed| live(Scenario::calm(seed).with_any_target().with_losses(Losses::Last)));
}

#[test]
fn losses_disorder_and_crashes_together() {
    for_each_seed(|seed| {
        for losses in [Losses::All, Losses::Last] {
            let calm = Scenario::calm(seed).with_any_target();
            live(calm.with_disorder().with_bad_target().with_crashes().with_losses(losses));
        }
    });
}
