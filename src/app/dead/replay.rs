//! `dead replay`: letters go to `intake` again and are planned against today's state. Each is recorded, published, confirmed, and only
//! then taken out of the queue: killed anywhere, it is at most sent twice, and what is said twice changes nothing.

use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::audit::{Progress, Record, confirm, record};
use super::desk::{Chosen, Desk, Place, broker_failed};
use super::index::refresh;
use super::lock::Lock;
use super::outcome::{Sent, Tally, settle};
use super::reading::{Said, read, unpublished};
use super::selection::Selection;
use crate::app::forecast::{self, totals_text};
use crate::app::{Failure, failed};
use crate::broker::publisher::AmqpPublisher;
use crate::broker::scan::{Found, Pass, Seen};
use crate::cli::{self, Exit};
use crate::core::foresee::Foresight;
use crate::core::gap::Rules;
use crate::core::schedule::Millis;
use crate::ops::shutdown;
use crate::pipeline::letters::ACCEPT_STALE;
use crate::pipeline::ports::{Header, LetterIndex, Publisher, Shelf, Switch};
use crate::pipeline::settings::ALIVE;

/// Letters published at once.
const CHUNK: usize = 50;
/// How long outcomes are waited for where no relay is alive.
const UNATTENDED: Duration = Duration::from_secs(5);
/// How long outcomes are waited for between letters, with `--stop-after-failures`.
const BETWEEN: Duration = Duration::from_secs(5);
/// First and longest time between looks at outcomes.
const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// `dead replay`.
pub(super) async fn replay(desk: &Desk, args: &cli::Replay) -> Result<Exit, Failure> {
    let (select, place) = (&args.change.select, Place::of(args.change.select.parked));
    let selection = desk.selection(select)?;
    selection.must_choose()?;
    Lock::within(desk, &desk.queue(place), "replay", async |lock| {
        plan_and_run(desk, args, place, &selection, lock).await
    })
    .await
}

async fn plan_and_run(
    desk: &Desk,
    args: &cli::Replay,
    place: Place,
    selection: &Selection,
    lock: &Lock,
) -> Result<Exit, Failure> {
    refresh(desk, place, lock).await?;
    let rules = forecast::rules(&desk.config, &desk.settings, &desk.store).await?;
    report_earlier(desk, &rules).await?;
    let chosen = desk.choose(place, selection).await?;
    let totals = desk.foresee_all(place, &chosen, &rules, |_, _| ()).await?;
    eprintln!("{} letters: {}", chosen.ids.len(), totals_text(&totals));
    let alive = is_attended(desk).await?;
    if chosen.ids.is_empty() {
        return Ok(chosen.report_missing());
    }
    confirm(&args.change, &format!("replay {} letters", chosen.ids.len()))?;
    let (what, selected) = ("dead replay", chosen.ids.len());
    // now already: should it be killed, nobody would know who it was
    record(desk, &Record { what: "dead replay begins", selection, change: &args.change, selected, done: 0 });
    let stop = shutdown::on_signal().map_err(failed)?;
    let mut run = Run::new(desk, place, args, rules, lock, stop.clone());
    let ran = run.all(&chosen).await;
    let Run { sent, skipped, mut tally, rules, .. } = run;
    record(desk, &Record { what, selection, change: &args.change, selected, done: sent });
    ran?;
    let wait = if alive { args.wait } else { args.wait.min(UNATTENDED) };
    await_outcomes(desk, &rules, &mut tally, wait, &stop).await?;
    let open = if alive { tally.open.intersection(&chosen.ids).count() } else { 0 };
    if open > 0 {
        eprintln!(
            "{open} letters are still pending: what they wait for, `scim-relay explain` says of each resource; their outcome is \
             reported by the next replay"
        );
    }
    Ok(report(args, &tally, &chosen, (sent, skipped, open)))
}

/// The exit code: 0 only where every selected letter was sent and none is known to have failed, nor is still on its way with a
/// relay there to bring it.
fn report(
    args: &cli::Replay,
    tally: &Tally,
    chosen: &Chosen,
    (sent, skipped, open): (usize, usize, usize),
) -> Exit {
    tally.lines(args.json.json).iter().for_each(|line| println!("{line}"));
    let left = chosen.ids.len().saturating_sub(sent + skipped);
    eprintln!("{sent} letters replayed, {left} of the selected ones left");
    let failed = skipped > 0 || left > 0 || open > 0 || tally.sum(|counts| counts.dead) > 0;
    match (failed, chosen.report_missing()) {
        (true, _) => Exit::Differences,
        (false, exit) => exit,
    }
}

/// Says what became of earlier replays that nobody waited for.
async fn report_earlier(desk: &Desk, rules: &Rules) -> Result<(), Failure> {
    let mut tally = Tally::default();
    settle(desk, rules, &mut tally).await?;
    let lines = tally.lines(false);
    if !lines.is_empty() {
        eprintln!("of earlier replays:");
        lines.iter().for_each(|line| eprintln!("  {line}"));
    }
    Ok(())
}

/// True if a relay is alive; says what it means if none is.
async fn is_attended(desk: &Desk) -> Result<bool, Failure> {
    let since = Millis(desk.now().0 - i64::try_from(ALIVE.as_millis()).unwrap_or(i64::MAX));
    let alive = desk.store.replicas(since).await.map_err(failed)? > 0;
    if !alive {
        eprintln!(
            "no relay has said within {} s that it lives: what is replayed waits in the queue `{}` until one runs, and its \
             outcome is reported by the next replay",
            ALIVE.as_secs(),
            desk.names.of("work")
        );
    }
    Ok(alive)
}

/// Waits until every outcome is known, or it was long enough.
async fn await_outcomes(
    desk: &Desk,
    rules: &Rules,
    tally: &mut Tally,
    wait: Duration,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let (mut pause, longest) = LOOK;
    let waited = async {
        loop {
            settle(desk, rules, tally).await?;
            if tally.sum(|counts| counts.pending) == 0 {
                return Ok(());
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(longest);
        }
    };
    tokio::time::timeout(wait, waited).await.unwrap_or(Ok(()))
}

/// A replay under way.
struct Run<'a> {
    desk: &'a Desk,
    place: Place,
    args: &'a cli::Replay,
    rules: Rules,
    lock: &'a Lock,
    stop: CancellationToken,
    publisher: AmqpPublisher,
    sent: usize,
    skipped: usize,
    tally: Tally,
}

impl<'a> Run<'a> {
    fn new(
        desk: &'a Desk,
        place: Place,
        args: &'a cli::Replay,
        rules: Rules,
        lock: &'a Lock,
        stop: CancellationToken,
    ) -> Self {
        let publisher = AmqpPublisher::new(desk.broker.clone());
        Self { desk, place, args, rules, lock, stop, publisher, sent: 0, skipped: 0, tally: Tally::default() }
    }

    /// Pass after pass, until all chosen letters are sent: a pass has to end before the broker's consumer timeout.
    async fn all(&mut self, chosen: &Chosen) -> Result<(), Failure> {
        let mut progress = Progress::of("replayed", chosen.ids.len());
        loop {
            let before = self.sent;
            let seen = self.pass(chosen, &mut progress).await?;
            if seen == Seen::All || self.sent == before || self.is_over() {
                progress.end();
                return Ok(());
            }
        }
    }

    /// True when it is to stop before all is sent.
    fn is_over(&self) -> bool {
        let failures = self.tally.sum(|counts| counts.dead);
        self.stop.is_cancelled()
            || self.args.stop_after_failures.is_some_and(|most| failures >= u64::from(most))
    }

    /// How many letters go out at once.
    fn chunk(&self) -> usize {
        let count = |number: Option<u32>| number.and_then(|number| usize::try_from(number).ok());
        let rate = count(self.args.rate).map_or(CHUNK, |rate| rate.div_ceil(10));
        CHUNK.min(rate).min(count(self.args.stop_after_failures).unwrap_or(CHUNK))
    }

    async fn pass(&mut self, chosen: &Chosen, progress: &mut Progress) -> Result<Seen, Failure> {
        let queue = self.desk.queue(self.place);
        let left = chosen.ids.len().saturating_sub(self.sent + self.skipped);
        let mut pass = Pass::begin(&self.desk.broker, &queue).await.map_err(broker_failed)?.expecting(left);
        let mut letters = Vec::new();
        while !self.is_over() && self.sent + self.skipped + letters.len() < chosen.ids.len() {
            let Some(found) = pass.next().await.map_err(broker_failed)? else { break };
            if chosen.ids.contains(&found.head.id) {
                letters.push(found);
            }
            if letters.len() >= self.chunk() {
                self.send(&mut pass, std::mem::take(&mut letters)).await?;
                progress.at(self.sent);
            }
        }
        if !self.is_over() {
            self.send(&mut pass, letters).await?;
        }
        pass.end().await.map_err(broker_failed)
    }

    /// Sends some letters, then takes them out of the queue and of the index.
    async fn send(&mut self, pass: &mut Pass, letters: Vec<Found>) -> Result<(), Failure> {
        self.lock.check()?;
        let (mut records, mut sending) = (Vec::new(), Vec::new());
        let foreseen = self.desk.foresee(&letters, &self.rules).await?;
        for (found, foreseen) in letters.into_iter().zip(foreseen) {
            let mut reading = read(&found, &self.desk.settings, self.desk.now());
            if self.args.accept_stale {
                reading.message.headers.insert(ACCEPT_STALE.into(), Header::Bool(true));
            }
            let refused = foreseen.verdict == Foresight::UnknownHistory && !self.args.accept_stale;
            match &reading.said {
                Said::Unsendable(why) => {
                    eprintln!("{}: {why}", found.head.id);
                    self.skipped += 1;
                }
                Said::Change(_) if refused => {
                    eprintln!("{}: unknown history: {}", found.head.id, foreseen.why);
                    self.skipped += 1;
                }
                Said::Change(_) | Said::Ignored | Said::Refused(_) => {
                    records.push((found.head.id.clone(), Sent::of(&found.head, &reading).to_json()));
                    sending.push((found, reading.message));
                }
            }
        }
        let store = &self.desk.store;
        store.shelve(Shelf::Replayed, records).await.map_err(failed)?;
        let publishes = sending.iter().map(|(_, message)| self.publisher.publish(message.clone()));
        let answers = join_all(publishes).await;
        let mut gone = Vec::new();
        for ((found, _), answer) in sending.iter().zip(answers) {
            answer.map_err(unpublished)?;
            pass.take(found).await.map_err(broker_failed)?;
            gone.push(found.head.id.clone());
        }
        self.sent += gone.len();
        let count = gone.len();
        store.unshelve(self.place.shelf(), gone).await.map_err(failed)?;
        self.pace(count).await
    }

    /// Keeps the rate, and looks at outcomes where failures are to stop it.
    async fn pace(&mut self, sent: usize) -> Result<(), Failure> {
        if self.args.stop_after_failures.is_some() {
            await_outcomes(self.desk, &self.rules, &mut self.tally, BETWEEN, &self.stop).await?;
        }
        let Some(rate) = self.args.rate else { return Ok(()) };
        let count = u32::try_from(sent).unwrap_or(u32::MAX);
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(Duration::from_secs(1) * count / rate) => {}
        }
        Ok(())
    }
}
