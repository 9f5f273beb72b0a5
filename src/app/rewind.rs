//! `rewind`: the journal is merged again from some time on, and what it touches is read at the target.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use super::journal::{Journal, since};
use super::{Failure, ask, end, environment, failed, forecast, resource};
use crate::broker::publisher::AmqpPublisher;
use crate::broker::stream::AmqpStream;
use crate::cli::{self, Exit};
use crate::core::resource::ResourceKey;
use crate::ops::audit::{self, Act};
use crate::ops::clock::{SystemClock, ulid};
use crate::pipeline::letters::rfc3339;
use crate::pipeline::rewind::{Counts, Rewind, Window};
use crate::store::redis::RedisStore;

/// `rewind`.
pub async fn rewind(path: &Path, options: cli::Rewind) -> Exit {
    end(do_rewind(path, &options).await)
}

type Work = Rewind<RedisStore, AmqpPublisher, AmqpStream>;

async fn do_rewind(path: &Path, options: &cli::Rewind) -> Result<Exit, Failure> {
    let from = since(&options.since)?;
    let key = options.resource.as_deref().map(resource::parsed).transpose()?;
    let window = Window { since: from, only: key.as_ref() };
    let desk = Journal::open(path).await?;
    let (store, letters, settings) = (desk.store.clone(), desk.letters.clone(), desk.settings.clone());
    let work = Work::new(store, letters, desk.stream("journal"), Arc::new(SystemClock), settings, ulid);
    work.begin().await.map_err(failed)?;
    if options.dry_run {
        let rules = forecast::rules(&desk.config, &desk.settings, &desk.store).await?;
        let counts = work.foresee(window, &rules).await.map_err(failed)?;
        return Ok(report(&window, &counts, &would(&counts)));
    }
    let question = format!(
        "Merge {} of the journal again since {}, and have the target read for it?",
        what(key.as_ref()),
        rfc3339(from)
    );
    if !ask::may(&question, options.yes)? {
        println!("nothing was changed");
        return Ok(Exit::Differences);
    }
    // now already: should it be killed, nobody would know who it was
    record(&desk, "rewind begins", &window, &Counts::default(), options.reason.as_deref());
    let shown = std::io::stderr().is_terminal();
    let progress = |read| {
        if shown {
            eprint!("\r{read} messages of the journal read");
        }
    };
    let done = work.run(window, progress).await;
    if shown {
        eprint!("\r{:60}\r", "");
    }
    let counts =
        done.map_err(|error| failed(format!("{error}; run it again: what is merged twice changes nothing")))?;
    record(&desk, "rewind", &window, &counts, options.reason.as_deref());
    let text = format!(
        "{} were new, {} known, {} stale; {} resources are read at the target and planned anew",
        counts.new, counts.duplicate, counts.stale, counts.resources
    );
    Ok(report(&window, &counts, &text))
}

fn would(counts: &Counts) -> String {
    format!(
        "{} would be new, {} known, {} stale; {} resources differ from what was applied; nothing was changed",
        counts.new, counts.duplicate, counts.stale, counts.different
    )
}

fn what(only: Option<&ResourceKey>) -> String {
    only.map_or("all".to_owned(), |key| format!("what is about {key}"))
}

/// Says what was done. Nothing to do for a resource that was named is a difference.
fn report(window: &Window<'_>, counts: &Counts, text: &str) -> Exit {
    if let (0, Some(key)) = (counts.events, window.only) {
        println!("the journal holds no event of {key} since {}", rfc3339(window.since));
        return Exit::Differences;
    }
    println!(
        "{} events of {} resources since {}: {text}",
        counts.events,
        counts.resources,
        rfc3339(window.since)
    );
    Exit::Done
}

fn record(desk: &Journal, action: &str, window: &Window<'_>, counts: &Counts, reason: Option<&str>) {
    let (who, relay) = (&audit::who(&environment()), &desk.config.target.name);
    let only = window.only.map_or(String::new(), |key| format!(" resource={key}"));
    let selection = &format!("since={}{only}", rfc3339(window.since));
    let (selected, done) = (counts.events, counts.new);
    audit::record(&Act { who, action, relay, selection, selected, done, reason });
}
