//! `trace`: what became of a resource's events, and which writes carried them. Changes nothing.

use std::path::Path;

use super::journal::{Journal, since};
use super::{Failure, end, failed, forecast, resource};
use crate::cli::{self, Exit};
use crate::ops::clock::ulid;
use crate::ops::story;
use crate::pipeline::recover::Streams;
use crate::pipeline::trace::Teller;

/// `trace`.
pub async fn trace(path: &Path, options: cli::Trace) -> Exit {
    end(do_trace(path, &options).await)
}

async fn do_trace(path: &Path, options: &cli::Trace) -> Result<Exit, Failure> {
    let key = resource::parsed(&options.resource)?;
    let from = options.since.as_deref().map(since).transpose()?;
    let desk = Journal::open(path).await?;
    let rules = forecast::rules(&desk.config, &desk.settings, &desk.store).await?;
    let streams = Streams { journal: desk.stream("journal"), outcomes: desk.stream("outcomes") };
    let teller = Teller::new(desk.store.clone(), desk.letters.clone(), streams, desk.settings.clone(), ulid);
    let told = teller.tell(&key, from, &rules).await.map_err(failed)?;
    if !told.known {
        eprintln!("nothing is known about {key}");
        return Ok(Exit::Differences);
    }
    if told.dropped > 0 {
        eprintln!("{} older lines are left out: say a later --since", told.dropped);
    }
    if told.lines.is_empty() {
        eprintln!(
            "the journal holds no event of {key} from then on: `scim-relay explain {key}` shows what is known"
        );
    }
    for line in &told.lines {
        match options.json.json {
            true => println!("{}", serde_json::json!(line)),
            false => println!("{}", story::to_text(line)),
        }
    }
    Ok(Exit::Done)
}
