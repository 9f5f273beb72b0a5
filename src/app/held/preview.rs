//! What would come of a decision, before it is made: the letters that are meant, foreseen one by one.

use std::collections::BTreeMap;

use super::{Queue, ended, next};
use crate::app::dead::selection::Selection;
use crate::app::forecast::{Totals, forecast, rules, totals_text};
use crate::app::{Failure, build, failed};
use crate::broker::scan::Found;
use crate::config::Config;
use crate::core::change::Change;
use crate::core::foresee::Foreseen;
use crate::core::gap::Rules;
use crate::ops::clock::SystemClock;
use crate::pipeline::head::Head;
use crate::pipeline::held::{Decision, HeldLetter};
use crate::pipeline::ports::Clock;
use crate::pipeline::settings::Settings;
use crate::store::redis::RedisStore;

/// Letters foreseen at once.
const CHUNK: usize = 200;

/// Foresees what would come of approving letters.
pub(super) struct Seer {
    store: RedisStore,
    rules: Rules,
    protected: Vec<String>,
}

impl Seer {
    pub(super) async fn open(config: &Config, settings: &Settings) -> Result<Self, Failure> {
        let store = RedisStore::connect(build::redis_options(config)?).await.map_err(failed)?;
        Ok(Self { store, rules: rules(config, settings).await?, protected: settings.protected.clone() })
    }

    /// In the order given; none: the letter carries no intent.
    pub(super) async fn foresee(&self, letters: &[Found]) -> Result<Vec<Option<Foreseen>>, Failure> {
        let read = letters.iter().map(|letter| HeldLetter::read(&letter.message, SystemClock.now()).ok());
        let read: Vec<Option<HeldLetter>> = read.collect();
        let changes: Vec<&Change> = read.iter().flatten().map(HeldLetter::change).collect();
        let mut forecast = forecast(&self.store, &changes, &self.rules, &self.protected).await?.into_iter();
        Ok(read.iter().map(|letter| letter.as_ref().and_then(|_| forecast.next())).collect())
    }

    /// The letters that are meant, and what would come of them.
    pub(super) async fn preview(&self, queue: &Queue, selection: &Selection) -> Result<Preview, Failure> {
        let (mut pass, mut preview) = (queue.pass().await?, Preview::default());
        loop {
            let mut letters = Vec::new();
            while letters.len() < CHUNK
                && let Some(letter) = next(&mut pass, selection, preview.heads.len() + letters.len()).await?
            {
                letters.push(letter);
            }
            if letters.is_empty() {
                ended(pass).await?;
                return Ok(preview);
            }
            for foreseen in self.foresee(&letters).await?.into_iter().flatten() {
                *preview.totals.entry(foreseen.verdict).or_default() += 1;
            }
            preview.heads.extend(letters.into_iter().map(|letter| letter.head));
        }
    }
}

/// What a decision is about.
#[derive(Default)]
pub(super) struct Preview {
    pub(super) heads: Vec<Head>,
    totals: Totals,
}

impl Preview {
    /// How many there are of which kind, and what would come of them, before anything is done.
    pub(super) fn text(&self, decision: Decision) -> String {
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for head in &self.heads {
            let kind =
                head.resource.as_deref().and_then(|resource| resource.split('/').next()).unwrap_or("?");
            let method =
                head.operation.as_deref().and_then(|operation| operation.split(' ').next()).unwrap_or("?");
            *kinds.entry(format!("{kind} {method}")).or_default() += 1;
        }
        let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let what = match decision {
            Decision::Approve => format!("would come to {}", totals_text(&self.totals)),
            Decision::Reject => "would stay as they are".to_owned(),
        };
        match self.heads.len() {
            0 => "no held change is meant".to_owned(),
            count => format!("{count} held ({}): {what}", kinds.join(", ")),
        }
    }
}
