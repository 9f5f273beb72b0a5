//! `held`: what the guard holds, seen and decided about. The queue is passed over: the letters that are not meant go back.

mod preview;

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use self::preview::Seer;
use super::dead::selection::Selection;
use super::{Failure, build, end, environment, failed, load};
use crate::broker::connection::BrokerOptions;
use crate::broker::publisher::AmqpPublisher;
use crate::broker::scan::{Found, Pass, Seen};
use crate::broker::topology::Names;
use crate::cli::{Exit, HeldAction, HeldChange, HeldSelect};
use crate::config::Config;
use crate::core::foresee::Foreseen;
use crate::ops::audit::{self, Act};
use crate::ops::clock::{SystemClock, ulid};
use crate::ops::letter::{headers, printable};
use crate::pipeline::held::{Decision, HeldLetter};
use crate::pipeline::letters::Letters;
use crate::pipeline::ports::Clock;
use crate::store::redis::{Holder, RedisStore};

/// Letters decided about at once: each waits for confirms.
const AT_ONCE: usize = 100;
/// How long the lock of a tool that was killed keeps others out; renewed with every hundred letters.
const LOCK: Duration = Duration::from_secs(60);

/// `held`.
pub async fn held(path: &Path, action: HeldAction) -> Exit {
    end(run(path, action).await)
}

async fn run(path: &Path, action: HeldAction) -> Result<Exit, Failure> {
    let config = load(path)?;
    let queue =
        Queue { options: build::broker_options(&config)?, name: Names::new(&config.target.name).of("held") };
    match action {
        HeldAction::List(look) => {
            queue.list(parse(look.select)?, if look.json.json { json_line } else { line }).await
        }
        HeldAction::Show(look) => {
            let seer = Seer::new(&config, connect(&config).await?).await?;
            let print = if look.json.json { json_full } else { full };
            preview::each(&queue, &parse(look.select)?, Some(&seer), |letter, foreseen| {
                println!("{}", print(&letter, foreseen.as_ref()));
            })
            .await
        }
        HeldAction::Approve(change) => decide(&config, queue, change, Decision::Approve).await,
        HeldAction::Reject(change) => decide(&config, queue, change, Decision::Reject).await,
    }
}

async fn connect(config: &Config) -> Result<Arc<RedisStore>, Failure> {
    RedisStore::connect(build::redis_options(config)?).await.map(Arc::new).map_err(failed)
}

fn parse(select: HeldSelect) -> Result<Selection, Failure> {
    Selection::parse(&select.into(), SystemClock.now())
}

/// The queue of held letters.
struct Queue {
    options: BrokerOptions,
    name: String,
}

impl Queue {
    async fn pass(&self) -> Result<Pass, Failure> {
        Pass::begin(&self.options, &self.name).await.map_err(|error| match error.is_not_found() {
            true => (format!("{error}; run `scim-relay topology apply` first"), Exit::Failed),
            false => failed(error),
        })
    }

    /// Prints the letters that are meant.
    async fn list(&self, selection: Selection, print: fn(&Found) -> String) -> Result<Exit, Failure> {
        let mut pass = self.pass().await?;
        let mut shown = 0;
        while let Some(letter) = next(&mut pass, &selection, shown).await? {
            println!("{}", print(&letter));
            shown += 1;
        }
        ended(pass).await
    }
}

/// The next letter that is meant, unless there are enough.
async fn next(pass: &mut Pass, selection: &Selection, so_far: usize) -> Result<Option<Found>, Failure> {
    if selection.limit.is_some_and(|limit| so_far >= limit) {
        return Ok(None);
    }
    while let Some(letter) = pass.next().await.map_err(failed)? {
        if selection.has(&letter.head) {
            return Ok(Some(letter));
        }
    }
    Ok(None)
}

async fn ended(pass: Pass) -> Result<Exit, Failure> {
    // a pass that was left before its end has seen all that was asked for
    let _: Seen = pass.end().await.map_err(failed)?;
    Ok(Exit::Done)
}

/// Looks, asks, and carries the decision out for exactly those letters.
async fn decide(
    config: &Config,
    queue: Queue,
    change: HeldChange,
    decision: Decision,
) -> Result<Exit, Failure> {
    let selection = parse(change.select)?;
    selection.must_choose()?;
    let store = connect(config).await?;
    // what is rejected stays as it is: there is nothing to foresee
    let seer = match decision {
        Decision::Approve => Some(Seer::new(config, store.clone()).await?),
        Decision::Reject => None,
    };
    let preview = preview::preview(&queue, &selection, seer.as_ref()).await?;
    eprintln!("{}", preview.text(decision));
    let heads = preview.heads;
    if heads.is_empty() {
        println!("0 {}", past(decision));
        let named = !selection.ids.is_empty();
        return Ok(if named { Exit::Differences } else { Exit::Done });
    }
    if !change.yes && !agreed(decision)? {
        return Ok(Exit::Failed);
    }
    let ids: BTreeSet<String> = heads.into_iter().map(|head| head.id).collect();
    let desk = Desk { queue, store, owner: ulid() };
    let mut tally = Tally::default();
    let carried_out = desk.carry_out(config, &ids, decision, &mut tally).await;
    let action = format!("held {}", verb(decision));
    audit::record(&Act {
        who: &audit::who(&environment()),
        action: &action,
        relay: &config.target.name,
        selection: &selection.describe(),
        selected: u64::try_from(ids.len()).unwrap_or(u64::MAX),
        done: tally.done,
        reason: change.reason.as_deref(),
    });
    carried_out?;
    println!("{} {}", tally.done, past(decision));
    let left = u64::try_from(ids.len()).unwrap_or(u64::MAX).saturating_sub(tally.done);
    if left > tally.refused {
        eprintln!("{} were no longer there: decided about elsewhere, or expired", left - tally.refused);
    }
    Ok(if left == 0 { Exit::Done } else { Exit::Differences })
}

/// How far it has come.
#[derive(Debug, Default)]
struct Tally {
    done: u64,
    refused: u64,
}

/// Where one operator at a time decides.
struct Desk {
    queue: Queue,
    store: Arc<RedisStore>,
    owner: String,
}

impl Desk {
    async fn lock(&self) -> Result<(), Failure> {
        match self.store.lock("held", &self.owner, LOCK).await.map_err(failed)? {
            Holder::Us => Ok(()),
            Holder::Other(_) => {
                let text = "somebody else is deciding about held changes: wait until they are done, a minute at most";
                Err((text.into(), Exit::Failed))
            }
        }
    }

    /// Decides about these letters, and takes each one when the broker has the decision.
    async fn carry_out(
        &self,
        config: &Config,
        ids: &BTreeSet<String>,
        decision: Decision,
        tally: &mut Tally,
    ) -> Result<(), Failure> {
        self.lock().await?;
        let settings = build::settings(config);
        let publisher = AmqpPublisher::new(self.queue.options.clone()).connected().await.map_err(failed)?;
        let letters =
            Letters::new(Arc::new(publisher), Arc::new(SystemClock), settings.routes, settings.target, ulid);
        let mut pass = self.queue.pass().await?.expecting(ids.len());
        let mut seen = 0;
        loop {
            let some = meant(&mut pass, ids, AT_ONCE.min(ids.len() - seen)).await?;
            if some.is_empty() {
                break;
            }
            seen += some.len();
            let decided = join_all(some.iter().map(|letter| async {
                letters.decide(&HeldLetter::read(&letter.message, SystemClock.now())?, decision).await
            }));
            for (letter, decided) in some.iter().zip(decided.await) {
                match decided {
                    Ok(()) => {
                        tally.done += 1;
                        pass.take(letter).await.map_err(failed)?;
                    }
                    Err(error) => {
                        tally.refused += 1;
                        eprintln!("{}: {error}", letter.head.id);
                    }
                }
            }
            self.lock().await?;
        }
        ended(pass).await?;
        // it ends by itself, should this fail
        let _ = self.store.unlock("held", &self.owner).await;
        Ok(())
    }
}

/// The next letters of these IDs, so many at most.
async fn meant(pass: &mut Pass, ids: &BTreeSet<String>, most: usize) -> Result<Vec<Found>, Failure> {
    let mut some = Vec::new();
    while some.len() < most
        && let Some(letter) = pass.next().await.map_err(failed)?
    {
        if ids.contains(&letter.head.id) {
            some.push(letter);
        }
    }
    Ok(some)
}

/// Asks on a terminal; elsewhere somebody must have said `--yes`.
fn agreed(decision: Decision) -> Result<bool, Failure> {
    let verb = verb(decision);
    if !std::io::stdin().is_terminal() {
        return Err((format!("nobody can be asked here: say `held {verb} … --yes`"), Exit::Usage));
    }
    eprint!("{verb} them? [y/N] ");
    std::io::stderr().flush().map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn verb(decision: Decision) -> &'static str {
    match decision {
        Decision::Approve => "approve",
        Decision::Reject => "reject",
    }
}

fn past(decision: Decision) -> &'static str {
    match decision {
        Decision::Approve => "approved",
        Decision::Reject => "rejected",
    }
}

fn line(letter: &Found) -> String {
    let head = &letter.head;
    let text = |text: &Option<String>| printable(text.as_deref().unwrap_or("-"));
    format!(
        "{}  {}  {:<24}  {:<40}  {}",
        head.id,
        text(&head.last_failed_at),
        text(&head.resource),
        text(&head.operation),
        text(&head.revision)
    )
}

fn full(letter: &Found, foreseen: Option<&Foreseen>) -> String {
    let body: Result<Value, _> = serde_json::from_slice(&letter.message.body);
    let intent = body.map(|body| body["data"].clone()).and_then(|data| serde_json::to_string_pretty(&data));
    let intent = intent.unwrap_or_else(|_| "it is no JSON".to_owned());
    let approved = foreseen.map_or_else(
        || "nothing: it carries no intent of the relay".to_owned(),
        |foreseen| match foreseen.why.as_str() {
            "" => foreseen.verdict.name().to_owned(),
            why => format!("{}: {why}", foreseen.verdict.name()),
        },
    );
    format!("{}\n{intent}\n\nif approved now  {approved}\n", headers(&letter.head))
}

fn json_line(letter: &Found) -> String {
    letter.head.to_json()
}

fn json_full(letter: &Found, foreseen: Option<&Foreseen>) -> String {
    let body: Value = serde_json::from_slice(&letter.message.body).unwrap_or_default();
    let mut document = json!(letter.head);
    document["intent"] = body["data"].clone();
    if let Some(foreseen) = foreseen {
        document["verdict"] = json!(foreseen.verdict);
    }
    document.to_string()
}
