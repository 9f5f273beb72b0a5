//! `status` and `check`: commands that look and change nothing.

use std::path::Path;

use super::{Failure, build, end, failed, load};
use crate::broker::inspector::Inspector;
use crate::cli::{Exit, Json};
use crate::ops::clock::SystemClock;
use crate::pipeline::ports::Clock;
use crate::store::redis::RedisStore;

/// `status`.
pub async fn status(path: &Path, json: Json) -> Exit {
    end(show_status(path, json).await)
}

async fn show_status(path: &Path, json: Json) -> Result<Exit, Failure> {
    let config = load(path)?;
    let store = RedisStore::connect(build::redis_options(&config)?).await.map_err(failed)?;
    let inspector = Inspector::new(build::broker_options(&config)?);
    let status = crate::ops::status::Status::read(
        &config.target.name,
        &store,
        &inspector,
        &config.delays,
        &config.limits,
        SystemClock.now(),
    );
    let status = status.await.map_err(failed)?;
    println!("{}", if json.json { status.to_json() } else { status.to_text() });
    Ok(Exit::Done)
}
/// `check`.
pub async fn check(path: &Path, json: Json) -> Exit {
    end(do_check(path, json).await)
}

async fn do_check(path: &Path, json: Json) -> Result<Exit, Failure> {
    let config = load(path)?;
    let (broker, redis) = (build::broker_options(&config)?, build::redis_options(&config)?);
    let target = build::asked_target(&config).await?;
    let items = crate::ops::check::run(&config, &broker, redis, &target).await;
    for item in &items {
        println!("{}", if json.json { item.to_json() } else { item.to_text() });
    }
    let good = items.iter().all(|item| item.verdict != crate::ops::check::Verdict::Failed);
    Ok(if good { Exit::Done } else { Exit::Failed })
}
