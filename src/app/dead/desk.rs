//! What all commands about letters work with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::selection::Selection;
use crate::app::{Failure, build, environment, failed, load};
use crate::broker::connection::{BrokerError, BrokerOptions};
use crate::broker::inspector::Inspector;
use crate::broker::topology::Names;
use crate::cli::{Exit, Select};
use crate::config::Config;
use crate::core::schedule::Millis;
use crate::ops::audit;
use crate::ops::clock::SystemClock;
use crate::pipeline::head::Head;
use crate::pipeline::ports::{Clock, LetterIndex, Shelf};
use crate::pipeline::settings::Settings;
use crate::store::redis::RedisStore;

/// Letters listed in order; more come as the index holds them.
const SORTED: usize = 10_000;

/// A queue of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Dead,
    Parked,
}

impl Place {
    /// `dead`, or `parked` if that was asked for.
    pub(super) fn of(parked: bool) -> Self {
        if parked { Place::Parked } else { Place::Dead }
    }

    pub(super) fn shelf(self) -> Shelf {
        match self {
            Place::Dead => Shelf::Dead,
            Place::Parked => Shelf::Parked,
        }
    }
}

/// Connections, settings and who sits there.
pub(super) struct Desk {
    pub(super) config: Config,
    pub(super) settings: Settings,
    pub(super) store: Arc<RedisStore>,
    pub(super) broker: BrokerOptions,
    pub(super) inspector: Inspector,
    pub(super) names: Names,
    /// `user@host`.
    pub(super) who: String,
}

impl Desk {
    pub(super) async fn open(path: &Path) -> Result<Self, Failure> {
        let config = load(path)?;
        let store = RedisStore::connect(build::redis_options(&config)?).await.map_err(failed)?;
        let broker = build::broker_options(&config)?;
        Ok(Self {
            settings: build::settings(&config),
            store: Arc::new(store),
            inspector: Inspector::new(broker.clone()),
            broker,
            names: Names::new(&config.target.name),
            who: audit::who(&environment()),
            config,
        })
    }

    pub(super) fn now(&self) -> Millis {
        SystemClock.now()
    }

    /// The queue's name.
    pub(super) fn queue(&self, place: Place) -> String {
        self.names.of(place.shelf().name())
    }

    pub(super) fn selection(&self, select: &Select) -> Result<Selection, Failure> {
        Selection::parse(select, self.now())
    }

    /// The letters that are meant, by ID; with a limit the smallest IDs, which are the oldest letters.
    pub(super) async fn choose(&self, place: Place, selection: &Selection) -> Result<Chosen, Failure> {
        let mut ids = BTreeSet::new();
        let limit = selection.limit.unwrap_or(usize::MAX);
        self.each(place, |head| {
            if selection.has(&head) {
                ids.insert(head.id);
                if ids.len() > limit {
                    ids.pop_last();
                }
            }
        })
        .await?;
        let missing = selection.ids.iter().filter(|id| !ids.contains(*id) && ids.len() < limit);
        Ok(Chosen { missing: missing.cloned().collect(), ids })
    }

    /// Hands the heads of the chosen letters over: in order, as long as they are few or limited.
    pub(super) async fn heads(
        &self,
        place: Place,
        selection: &Selection,
        mut take: impl FnMut(Head),
    ) -> Result<(), Failure> {
        let limit = selection.limit.unwrap_or(usize::MAX);
        let count = self.store.shelf_count(place.shelf()).await.map_err(failed)?;
        if limit > SORTED && count > SORTED as u64 {
            let mut left = limit;
            return self
                .each(place, |head| {
                    if left > 0 && selection.has(&head) {
                        left -= 1;
                        take(head);
                    }
                })
                .await;
        }
        let mut chosen = BTreeMap::new();
        self.each(place, |head| {
            if selection.has(&head) {
                chosen.insert(head.id.clone(), head);
                if chosen.len() > limit {
                    chosen.pop_last();
                }
            }
        })
        .await?;
        chosen.into_values().for_each(take);
        Ok(())
    }

    /// Every indexed letter once, page by page.
    pub(super) async fn each(&self, place: Place, mut take: impl FnMut(Head)) -> Result<(), Failure> {
        let (mut cursor, mut seen) = (Some(0), BTreeSet::new());
        while let Some(at) = cursor {
            let (page, next) = self.store.shelf_page(place.shelf(), at).await.map_err(failed)?;
            for (id, text) in page {
                let head = Head::from_json(&id, &text);
                if seen.insert(id) {
                    take(head);
                }
            }
            cursor = next;
        }
        Ok(())
    }
}

/// Letters by ID.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    pub(super) ids: BTreeSet<String>,
    /// IDs that were asked for, and are no letter there.
    pub(super) missing: Vec<String>,
}

impl Chosen {
    /// Says which IDs are no letters. The exit code of what did all the rest.
    pub(super) fn report_missing(&self) -> Exit {
        for id in &self.missing {
            eprintln!("no letter has the ID {id}");
        }
        if self.missing.is_empty() { Exit::Done } else { Exit::Differences }
    }
}

/// A failure of the broker: where the topology is missing, it says what to do.
pub(super) fn broker_failed(error: BrokerError) -> Failure {
    match error.is_not_found() {
        true => (format!("{error}; run `scim-relay topology apply` first"), Exit::Failed),
        false => failed(error),
    }
}
