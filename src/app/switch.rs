//! `pause` and `resume`: an operator stops or starts sending, over all replicas. Intake goes on.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Failure, build, end, environment, failed, load};
use crate::cli::{Exit, SwitchOptions};
use crate::core::schedule::Lane;
use crate::ops::audit::{self, Act};
use crate::ops::clock::SystemClock;
use crate::pipeline::ports::{Clock, Switch};
use crate::store::redis::RedisStore;

/// `pause`.
pub async fn pause(path: &Path, options: SwitchOptions) -> Exit {
    end(set(path, options, true).await)
}

/// `resume`.
pub async fn resume(path: &Path, options: SwitchOptions) -> Exit {
    end(set(path, options, false).await)
}

async fn set(path: &Path, options: SwitchOptions, stopped: bool) -> Result<Exit, Failure> {
    let config = load(path)?;
    let store = RedisStore::connect(build::redis_options(&config)?).await.map_err(failed)?;
    let lanes: BTreeSet<Lane> = match options.lane {
        Some(lane) => BTreeSet::from([lane.into()]),
        None => Lane::ALL.into(),
    };
    store.set_stopped(&lanes, stopped).await.map_err(failed)?;
    let names: Vec<&str> = lanes.iter().map(|lane| lane.name()).collect();
    let action = if stopped { "pause" } else { "resume" };
    let count = u64::try_from(lanes.len()).unwrap_or(u64::MAX);
    audit::record(&Act {
        who: &audit::who(&environment()),
        action,
        relay: &config.target.name,
        selection: &names.join(" "),
        selected: count,
        done: count,
        reason: options.reason.as_deref(),
    });
    let now = SystemClock.now();
    let circuit = store.circuit().await.map_err(failed)?;
    let still: Vec<&str> = circuit.stopped.iter().map(|lane| lane.name()).collect();
    match still.is_empty() {
        true => println!("sending; the circuit is {}", circuit.state(now).name()),
        false => println!("stopped: {}; intake goes on", still.join(", ")),
    }
    Ok(Exit::Done)
}
