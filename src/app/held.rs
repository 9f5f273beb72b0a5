//! `held`: what the guard holds, seen and decided about. The queue is passed over: the letters that are not meant go back.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::dead::selection::Selection;
use super::{Failure, build, end, environment, failed, load};
use crate::broker::connection::BrokerOptions;
use crate::broker::publisher::AmqpPublisher;
use crate::broker::scan::{Found, Pass, Seen};
use crate::broker::topology::Names;
use crate::cli::{Exit, HeldAction, HeldChange, HeldSelect};
use crate::config::Config;
use crate::ops::clock::{SystemClock, ulid};
use crate::ops::letter::{headers, printable};
use crate::pipeline::head::Head;
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
            queue.show(parse(look.select)?, if look.json.json { json_line } else { line }).await
        }
        HeldAction::Show(look) => {
            queue.show(parse(look.select)?, if look.json.json { json_full } else { full }).await
        }
        HeldAction::Approve(change) => decide(&config, &queue, change, Decision::Approve).await,
        HeldAction::Reject(change) => decide(&config, &queue, change, Decision::Reject).await,
    }
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
    async fn show(&self, selection: Selection, print: fn(&Found) -> String) -> Result<Exit, Failure> {
        let mut pass = self.pass().await?;
        let mut shown = 0;
        while let Some(letter) = next(&mut pass, &selection, shown).await? {
            println!("{}", print(&letter));
            shown += 1;
        }
        ended(pass).await
    }

    /// The heads of the letters that are meant.
    async fn heads(&self, selection: &Selection) -> Result<Vec<Head>, Failure> {
        let mut pass = self.pass().await?;
        let mut heads = Vec::new();
        while let Some(letter) = next(&mut pass, selection, heads.len()).await? {
            heads.push(letter.head);
        }
        ended(pass).await?;
        Ok(heads)
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
    queue: &Queue,
    change: HeldChange,
    decision: Decision,
) -> Result<Exit, Failure> {
    let selection = parse(change.select)?;
    selection.must_choose()?;
    let heads = queue.heads(&selection).await?;
    eprintln!("{}", totals(&heads, decision));
    if heads.is_empty() {
        println!("0 {}", past(decision));
        let named = !selection.ids.is_empty();
        return Ok(if named { Exit::Differences } else { Exit::Done });
    }
    if !change.yes && !agreed(decision)? {
        return Ok(Exit::Failed);
    }
    let ids: BTreeSet<String> = heads.into_iter().map(|head| head.id).collect();
    let store = RedisStore::connect(build::redis_options(config)?).await.map_err(failed)?;
    let owner = ulid();
    lock(&store, &owner).await?;
    let done = carry_out(config, queue, &store, &owner, &ids, decision).await;
    // it ends by itself, should this fail
    let _ = store.unlock("held", &owner).await;
    let (done, refused) = done?;
    let missing = ids.len().saturating_sub(done + refused);
    audit(&selection, decision, (done, refused + missing), change.reason.as_deref());
    if missing > 0 {
        eprintln!("{missing} were no longer there: decided about elsewhere, or expired");
    }
    println!("{done} {}", past(decision));
    Ok(if refused + missing == 0 { Exit::Done } else { Exit::Differences })
}

async fn lock(store: &RedisStore, owner: &str) -> Result<(), Failure> {
    match store.lock("held", owner, LOCK).await.map_err(failed)? {
        Holder::Us => Ok(()),
        Holder::Other(_) => {
            let text =
                "somebody else is deciding about held changes: wait until they are done, a minute at most";
            Err((text.into(), Exit::Failed))
        }
    }
}

/// Decides about these letters, and takes each one when the broker has the decision. How many were, and how many could not be.
async fn carry_out(
    config: &Config,
    queue: &Queue,
    store: &RedisStore,
    owner: &str,
    ids: &BTreeSet<String>,
    decision: Decision,
) -> Result<(usize, usize), Failure> {
    let settings = build::settings(config);
    let publisher = AmqpPublisher::new(queue.options.clone()).connected().await.map_err(failed)?;
    let letters =
        Letters::new(Arc::new(publisher), Arc::new(SystemClock), settings.routes, settings.target, ulid);
    let mut pass = queue.pass().await?;
    let (mut done, mut refused, mut open) = (0, 0, true);
    while open {
        lock(store, owner).await?;
        let mut some = Vec::new();
        while some.len() < AT_ONCE && open {
            match pass.next().await.map_err(failed)? {
                Some(letter) if ids.contains(&letter.head.id) => some.push(letter),
                Some(_) => {}
                None => open = false,
            }
            open &= done + refused + some.len() < ids.len();
        }
        let decided = join_all(some.iter().map(|letter| async {
            letters.decide(&HeldLetter::read(&letter.message, SystemClock.now())?, decision).await
        }));
        for (letter, decided) in some.iter().zip(decided.await) {
            match decided {
                Ok(()) => {
                    pass.take(letter).await.map_err(failed)?;
                    done += 1;
                }
                Err(error) => {
                    eprintln!("{}: {error}", letter.head.id);
                    refused += 1;
                }
            }
        }
    }
    ended(pass).await?;
    Ok((done, refused))
}

/// Asks on a terminal; elsewhere somebody must have said `--yes`.
fn agreed(decision: Decision) -> Result<bool, Failure> {
    let verb = match decision {
        Decision::Approve => "approve",
        Decision::Reject => "reject",
    };
    if !std::io::stdin().is_terminal() {
        return Err((format!("nobody can be asked here: say `held {verb} … --yes`"), Exit::Usage));
    }
    eprint!("{verb} them? [y/N] ");
    std::io::stderr().flush().map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// What operators change is told whatever is filtered.
fn audit(selection: &Selection, decision: Decision, (done, failed): (usize, usize), reason: Option<&str>) {
    let environment = environment();
    let who = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| environment.get(*name));
    tracing::info!(
        target: "audit",
        who = who.map_or("unknown", String::as_str),
        filter = selection.describe(),
        done,
        failed,
        reason,
        "held changes {}",
        past(decision)
    );
}

fn past(decision: Decision) -> &'static str {
    match decision {
        Decision::Approve => "approved",
        Decision::Reject => "rejected",
    }
}

/// How many there are of which kind, before anything is done.
fn totals(heads: &[Head], decision: Decision) -> String {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for head in heads {
        let kind = head.resource.as_deref().and_then(|resource| resource.split('/').next()).unwrap_or("?");
        let method =
            head.operation.as_deref().and_then(|operation| operation.split(' ').next()).unwrap_or("?");
        *kinds.entry(format!("{kind} {method}")).or_default() += 1;
    }
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let what = match decision {
        Decision::Approve => {
            "would be deprovisioned at the target, unless something newer was said meanwhile"
        }
        Decision::Reject => "would stay as they are",
    };
    match heads.len() {
        0 => "no held change is meant".to_owned(),
        count => format!("{count} held ({}): {what}", kinds.join(", ")),
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

fn full(letter: &Found) -> String {
    let body: Result<serde_json::Value, _> = serde_json::from_slice(&letter.message.body);
    let intent = body.map(|body| body["data"].clone()).and_then(|data| serde_json::to_string_pretty(&data));
    let intent = intent.unwrap_or_else(|_| "it is no JSON".to_owned());
    format!("{}\n{intent}\n", headers(&letter.head))
}

fn json_line(letter: &Found) -> String {
    letter.head.to_json()
}

fn json_full(letter: &Found) -> String {
    let body: serde_json::Value = serde_json::from_slice(&letter.message.body).unwrap_or_default();
    let mut document = json!(letter.head);
    document["intent"] = body["data"].clone();
    document.to_string()
}
