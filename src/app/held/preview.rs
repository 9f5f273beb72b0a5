//! What would come of a decision, before it is made: the letters that are meant, foreseen one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Queue, ended, next};
use crate::app::dead::selection::Selection;
use crate::app::forecast::{Totals, forecast, rules, totals_text};
use crate::app::{Failure, build};
use crate::broker::scan::Found;
use crate::cli::Exit;
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
    store: Arc<RedisStore>,
    rules: Rules,
    settings: Settings,
}

impl Seer {
    pub(super) async fn new(config: &Config, store: Arc<RedisStore>) -> Result<Self, Failure> {
        let settings = build::settings(config);
        let rules = rules(config, &settings, &store).await?;
        Ok(Self { store, rules, settings })
    }

    /// In the order given; none: the letter carries no intent.
    pub(super) async fn foresee(&self, letters: &[Found]) -> Result<Vec<Option<Foreseen>>, Failure> {
        let read = letters.iter().map(|letter| HeldLetter::read(&letter.message, SystemClock.now()).ok());
        let read: Vec<Option<HeldLetter>> = read.collect();
        let changes: Vec<&Change> = read.iter().flatten().map(HeldLetter::change).collect();
        let mut forecast = forecast(&self.store, &changes, &self.rules, &self.settings).await?.into_iter();
        Ok(read.iter().map(|letter| letter.as_ref().and_then(|_| forecast.next())).collect())
    }
}

/// Hands over the letters that are meant, with what would come of them where somebody foresees it.
pub(super) async fn each(
    queue: &Queue,
    selection: &Selection,
    seer: Option<&Seer>,
    mut take: impl FnMut(Found, Option<Foreseen>),
) -> Result<Exit, Failure> {
    let (mut pass, mut so_far) = (queue.pass().await?, 0);
    loop {
        let mut letters = Vec::new();
        while letters.len() < CHUNK
            && let Some(letter) = next(&mut pass, selection, so_far + letters.len()).await?
        {
            letters.push(letter);
        }
        if letters.is_empty() {
            return ended(pass).await;
        }
        so_far += letters.len();
        let foreseen = match seer {
            Some(seer) => seer.foresee(&letters).await?,
            None => vec![None; letters.len()],
        };
        letters.into_iter().zip(foreseen).for_each(|(letter, foreseen)| take(letter, foreseen));
    }
}

/// Looks at the letters that are meant before something is decided about them.
pub(super) async fn preview(
    queue: &Queue,
    selection: &Selection,
    seer: Option<&Seer>,
) -> Result<Preview, Failure> {
    let mut preview = Preview::default();
    let _: Exit = each(queue, selection, seer, |letter, foreseen| {
        if let Some(foreseen) = foreseen {
            *preview.totals.entry(foreseen.verdict).or_default() += 1;
        }
        preview.heads.push(letter.head);
    })
    .await?;
    Ok(preview)
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
