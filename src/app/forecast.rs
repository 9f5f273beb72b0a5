//! Forecasts: what would come of changes if they were merged now. Nothing is sent but a question what the target can do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Failure, build, failed};
use crate::config::Config;
use crate::core::change::Change;
use crate::core::foresee::{Foreseen, Foresight, foresee};
use crate::core::gap::Rules;
use crate::core::history::{horizon, is_unknown};
use crate::core::matching::{self, Matcher};
use crate::core::path::Path;
use crate::core::record::Record;
use crate::core::schedule::Millis;
use crate::ops::clock::SystemClock;
use crate::pipeline::letters::rfc3339;
use crate::pipeline::ports::{Clock, Load, Store, Target};
use crate::pipeline::recover::stamp;
use crate::pipeline::settings::Settings;
use crate::store::redis::RedisStore;

/// How long the target may take to say what it can do: a forecast is for outages too.
const DISCOVERY: Duration = Duration::from_secs(3);

/// How many changes would come to what.
pub(super) type Totals = BTreeMap<Foresight, usize>;

/// The rules of writing; what the target can do is asked, and assumed to be the usual if it does not say.
pub(super) async fn rules(
    config: &Config,
    settings: &Settings,
    store: &Arc<RedisStore>,
) -> Result<Rules, Failure> {
    let limiter = build::limiter(config, store.clone(), CancellationToken::new());
    let target = build::target(config)?.budgeted(limiter);
    let capabilities = match tokio::time::timeout(DISCOVERY, target.discover()).await {
        Ok(answer) => answer.ok(),
        Err(_) => None,
    };
    Ok(Rules {
        etag: capabilities.as_ref().is_some_and(|c| c.etag),
        patch: capabilities.as_ref().is_none_or(|c| c.patch),
        user: settings.user,
        group: settings.group,
        dialect: settings.dialect.clone(),
    })
}

/// What would come of these changes, in their order, by what is known of their resources today.
pub(super) async fn forecast(
    store: &RedisStore,
    changes: &[&Change],
    rules: &Rules,
    settings: &Settings,
) -> Result<Vec<Foreseen>, Failure> {
    let loads: Vec<Load> = changes.iter().map(|change| load(change)).collect();
    let loaded = store.load(&loads).await.map_err(failed)?;
    let stamp = stamp(store).await.map_err(failed)?;
    let horizon = horizon(stamp.as_ref(), settings.tombstone_ttl, SystemClock.now());
    let foreseen = loaded.iter().zip(changes).map(|(loaded, change)| {
        if is_unknown(&loaded.record, &loaded.members, change, horizon) {
            return unknown(change.first_seen, horizon);
        }
        let foreseen = foresee(&loaded.record, &loaded.members, change, rules);
        let writes = !matches!(foreseen.verdict, Foresight::AlreadyTrue | Foresight::Superseded);
        match writes && is_protected(change, &loaded.record, &settings.protected) {
            true => Foreseen {
                verdict: Foresight::WouldFail,
                why: "the resource is named in target.protected".into(),
            },
            false => foreseen,
        }
    });
    Ok(foreseen.collect())
}

/// Something newer may have been applied and forgotten.
fn unknown(first_seen: Millis, horizon: Millis) -> Foreseen {
    let why = format!(
        "first seen at {}, and what was said before {} may be forgotten: `dead replay --accept-stale` applies it all the same",
        rfc3339(first_seen),
        rfc3339(horizon)
    );
    Foreseen { verdict: Foresight::UnknownHistory, why }
}

/// True if the source calls a resource by a name that is never written to. What the target calls it, only a read tells.
fn is_protected(change: &Change, record: &Record, protected: &[String]) -> bool {
    let path = Path::core(Matcher::name_of(change.key.kind).path());
    let said = change.delta.attributes.iter().filter(|register| register.path == path);
    let said = said.filter_map(|register| register.value.as_deref()?.as_str().map(str::to_owned));
    let known = Matcher::name_of(change.key.kind).wanted(&change.key, record);
    let names = said.chain(known).chain([change.key.external_id.as_str().to_owned()]);
    matching::is_protected(protected, names)
}

/// What a change is about: its resource, and the members that it names.
pub(super) fn load(change: &Change) -> Load {
    let members = change.delta.members.iter().map(|member| member.value.clone());
    Load { key: change.key.clone(), members: members.collect() }
}

/// Totals as one line.
pub(super) fn totals_text(totals: &Totals) -> String {
    let parts = Foresight::ALL.into_iter().filter_map(|verdict| {
        totals.get(&verdict).map(|count| format!("{count} {}", verdict.name().replace('_', " ")))
    });
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "no letters".into() } else { parts.join(", ") }
}
