//! `explain`, `verify` and `forget`: one resource, looked at, looked at again, or dropped.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Failure, ask, build, end, environment, failed, load, relay};
use crate::cli::{Exit, Explain, Forget, Verify};
use crate::config::Config;
use crate::core::resource::ResourceKey;
use crate::ops::audit::{self, Act};
use crate::ops::clock::SystemClock;
use crate::ops::explanation;
use crate::pipeline::flush::explain::Letter;
use crate::pipeline::head::Head;
use crate::pipeline::operator;
use crate::pipeline::ports::{Clock, LetterIndex, Load, Shelf, Store};
use crate::store::redis::RedisStore;

/// `explain`.
pub async fn explain(path: &Path, options: Explain) -> Exit {
    end(do_explain(path, options).await)
}

/// `verify`.
pub async fn verify(path: &Path, options: Verify) -> Exit {
    end(do_verify(path, options).await)
}

/// `forget`.
pub async fn forget(path: &Path, options: Forget) -> Exit {
    end(do_forget(path, options).await)
}

pub(super) fn parsed(resource: &str) -> Result<ResourceKey, Failure> {
    resource
        .parse()
        .map_err(|error| (format!("`{resource}`: {error}; write it as User/e-10042"), Exit::Usage))
}

async fn store(config: &Config) -> Result<RedisStore, Failure> {
    RedisStore::connect(build::redis_options(config)?).await.map_err(failed)
}

fn record(config: &Config, action: &str, selection: &str, count: u64, reason: Option<&str>) {
    let (who, relay) = (&audit::who(&environment()), &config.target.name);
    audit::record(&Act { who, action, relay, selection, selected: count, done: count, reason });
}

async fn do_explain(path: &Path, options: Explain) -> Result<Exit, Failure> {
    let key = parsed(&options.resource)?;
    let config = load(path)?;
    let store = Arc::new(store(&config).await?);
    let (broker, target) = (build::broker_options(&config)?, build::target(&config)?);
    let index = store.clone();
    let stages = relay::stages(&config, broker, store, target, CancellationToken::new());
    let explanation =
        stages.flush.explain(&key).await.map_err(failed)?.with_letters(letters(&index, &key).await?);
    match options.json {
        true => println!("{}", serde_json::json!(explanation)),
        false => println!("{}", explanation::to_text(&explanation)),
    }
    Ok(if explanation.known { Exit::Done } else { Exit::Differences })
}

/// The letters about a resource that the index knows.
async fn letters(index: &RedisStore, key: &ResourceKey) -> Result<Vec<Letter>, Failure> {
    let name = key.to_string();
    let mut letters = BTreeMap::new();
    for shelf in [Shelf::Dead, Shelf::Parked] {
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            let (page, next) = index.shelf_page(shelf, at).await.map_err(failed)?;
            let heads = page.into_iter().map(|(id, text)| Head::from_json(&id, &text));
            let ours = heads.filter(|head| head.resource.as_ref() == Some(&name));
            letters.extend(ours.map(|head| (head.id.clone(), Letter { queue: shelf.name(), head })));
            cursor = next;
        }
    }
    Ok(letters.into_values().collect())
}

async fn do_verify(path: &Path, options: Verify) -> Result<Exit, Failure> {
    let keys = options.resource.iter().map(|text| parsed(text)).collect::<Result<Vec<_>, _>>()?;
    let config = load(path)?;
    let store = store(&config).await?;
    let now = SystemClock.now();
    let audit = |selection: &str, count: u64| {
        record(&config, "verify", selection, count, options.reason.as_deref());
    };
    let Some(key) = keys.first() else {
        let progress = |count| {
            if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
                eprint!("\r{count} marked");
            }
        };
        let count = operator::verify_all(&store, now, progress).await.map_err(failed)?;
        audit("--all", count);
        println!("{count} resources are read again and planned anew");
        return Ok(Exit::Done);
    };
    let known = operator::verify(&store, key, now).await.map_err(failed)?;
    audit(&key.to_string(), u64::from(known));
    match known {
        true => println!("{key} is read again and planned anew"),
        false => println!("nothing is known about {key}"),
    }
    Ok(if known { Exit::Done } else { Exit::Differences })
}

async fn do_forget(path: &Path, options: Forget) -> Result<Exit, Failure> {
    let key = parsed(&options.resource)?;
    let config = load(path)?;
    let store = store(&config).await?;
    let loads = [Load { key: key.clone(), members: Vec::new() }];
    let loaded = store.load(&loads).await.map_err(failed)?.pop();
    let known = loaded.is_some_and(|loaded| loaded.version.counter > 0);
    if !known {
        println!("nothing is known about {key}");
        return Ok(Exit::Differences);
    }
    let question = format!(
        "Forget all that is stored about {key}: what is pending is lost, and what was written is no longer known to be ours?"
    );
    if !ask::may(&question, options.yes)? {
        println!("nothing was changed");
        return Ok(Exit::Differences);
    }
    store.forget(&key).await.map_err(failed)?;
    record(&config, "forget", &key.to_string(), 1, options.reason.as_deref());
    println!("{key} is forgotten");
    Ok(Exit::Done)
}
