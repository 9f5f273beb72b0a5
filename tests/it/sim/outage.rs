//! An outage of the target, however long: no attempt is used, only probes go out, and the return is ramped up.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use scim_relay::core::health::FAILING_RESOURCES;
use scim_relay::core::resource::ResourceType;
use scim_relay::core::retry::Ladder;
use scim_relay::core::schedule::Millis;
use scim_relay::pipeline::ports::{Load, Place, Store, Switch};
use scim_relay::pipeline::settings::{Mode, Settings};

use super::broker::routes;
use super::events::{DEPARTMENT, Event, Part, Said, group, user};
use super::faults::Outage;
use super::letters::homes;
use super::traffic::{Kind, Traffic};
use super::world::{World, profile, run, settings};

const TEN_MINUTES: Duration = Duration::from_secs(600);
/// Pauses double from 1 s up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// So many end within ten minutes: of 1, 2, 4, 8, 16 and 32 s, and nine of 60 s.
const PAUSES: usize = 6 + 9;
/// A pause is slept through in naps.
const NAP: Duration = Duration::from_secs(1);
/// A client gives a request up after 20 s, and asks how the target is.
const GIVEN_UP: Duration = Duration::from_secs(41);
/// The most operations that the target takes in one request.
const BULK: usize = 100;
/// Reads in flight for one batch.
const READS: usize = 8;

/// A source that says things about people and groups, by the number of the event.
struct Source {
    people: u64,
    groups: u64,
    seq: u64,
    /// Events about everybody in turn.
    turns: u64,
}

impl Source {
    fn new(people: u64, groups: u64) -> Self {
        Self { people, groups, seq: 0, turns: 0 }
    }

    fn put(&mut self, n: u64) -> Event {
        self.seq += 1;
        let (seq, name) = (self.seq, format!("u-{n}"));
        let attributes =
            vec![("userName", json!(format!("{name}@x"))), ("title", json!(format!("title-{seq}")))];
        Event { seq, key: user(&name), said: Said::Put { attributes, active: None, members: None } }
    }

    fn put_group(&mut self, n: u64) -> Event {
        self.seq += 1;
        let (seq, name) = (self.seq, format!("g-{n}"));
        let attributes = vec![("displayName", json!(name))];
        let members = Some((0..5).map(|m| format!("u-{}", (n * 5 + m) % self.people)).collect());
        Event { seq, key: group(&name), said: Said::Put { attributes, active: None, members } }
    }

    /// Everybody in turn: new values, leavers and joiners, and members of groups.
    fn next(&mut self) -> Event {
        let (turn, n) = (self.turns / self.people, self.turns * 7 % self.people);
        self.turns += 1;
        if turn == 0 || n.is_multiple_of(5) {
            return self.put(n);
        }
        self.seq += 1;
        let seq = self.seq;
        let said = match (n + turn) % 20 {
            0 => Said::Deactivate,
            1 => Said::Activate,
            2 if self.groups > 0 => {
                let joins = Said::Patch(vec![Part::AddMembers(vec![format!("u-{n}")])]);
                return Event { seq, key: group(&format!("g-{}", n % self.groups)), said: joins };
            }
            3..=10 => Said::Patch(vec![Part::Set("title", format!("title-{seq}"))]),
            _ => Said::Patch(vec![Part::Set(DEPARTMENT, format!("department-{seq}"))]),
        };
        Event { seq, key: user(&format!("u-{n}")), said }
    }
}

/// A world whose target was down, and when.
struct Past {
    world: World,
    down: Millis,
    up: Millis,
}

impl Past {
    /// Half of the people and all groups are at the target, which had somebody before. It goes down, so many events
    /// come, and it comes back.
    async fn of(settings: Settings, mut source: Source, events: u64, outage: Outage) -> Self {
        let mut world = World::calm(profile(), settings);
        let stranger = json!({ "userName": "stranger" }).as_object().cloned().unwrap();
        world.parts.target.with(|directory| directory.insert(ResourceType::User, stranger));
        world.start(1);
        (0..source.people / 2).for_each(|n| world.publish(source.put(n)));
        (0..source.groups).for_each(|n| world.publish(source.put_group(n)));
        world.rest().await;

        let (down, began) = (world.parts.clock.now(), Instant::now());
        world.parts.target.fail(TEN_MINUTES, outage);
        for second in 1..=590 {
            let until = events * second / 590;
            while source.turns < until {
                world.publish(source.next());
            }
            sleep(Duration::from_secs(1)).await;
        }
        sleep_until(began + TEN_MINUTES).await;
        assert!(world.parts.broker.is_empty(), "intake goes on");
        let past = Self { world, down, up: down.plus(TEN_MINUTES) };
        past.assert_no_attempt_is_used().await;
        past
    }

    fn traffic(&self) -> Traffic {
        self.world.parts.target.traffic()
    }

    /// No letter was written, and no record knows of a failure.
    async fn assert_no_attempt_is_used(&self) {
        let parts = &self.world.parts;
        assert_eq!((parts.broker.dead().len(), parts.broker.retries().len()), (0, 0));
        let (keys, _) = parts.store.memory.resources(Place::default()).await.unwrap();
        let loads: Vec<Load> = keys.into_iter().map(|key| Load { key, members: Vec::new() }).collect();
        for loaded in parts.store.memory.load(&loads).await.unwrap() {
            assert_eq!(loaded.record.trouble, None, "{}", loaded.key);
        }
    }

    /// What was on its way when the target went down is given up, and may ask once each how the target is. From then on
    /// one probe is sent after each pause, and nothing else.
    fn assert_only_probes_are_sent(&self, at_once: usize) {
        let down = self.traffic().between(self.down, self.up);
        let (probes, asked) = (down.of(Kind::Probe).count(), down.asked().count());
        assert!(asked <= at_once, "{asked} requests about resources");
        assert!(probes <= at_once + PAUSES, "{probes} probes");
        assert!(probes >= PAUSES / 2, "{probes} probes: the return would be seen late");
        let later = down.between(self.down.plus(GIVEN_UP), self.up);
        assert_eq!(later.asked().count(), 0);
        assert!(later.of(Kind::Probe).all(|probe| probe.at_once == 1));
    }

    /// A probe is first, soon, and the only one.
    fn assert_one_probe_sees_the_return(&self) {
        let up = self.traffic().since(self.up);
        let probe = up.of(Kind::Probe).next().unwrap();
        let late = probe.at.since(self.up);
        assert!(late <= LONGEST_PAUSE + NAP, "probed after {late:?}");
        assert!(up.asked().all(|request| request.at > probe.at));
        assert_eq!(up.of(Kind::Probe).count(), 1);
    }

    /// Waits until all is well, and compares.
    async fn assert_it_ends_well(mut self) {
        self.world.rest().await;
        self.assert_no_attempt_is_used().await;
        self.world.assert_converged();
        self.world.stop().await;
    }
}

/// The first write has one operation, each next at most twice as many, one at a time until they are as large as ever. So
/// lookups are few as well.
fn assert_bulks_are_ramped_up(up: &Traffic, most: usize, at_once: usize) {
    let mut limit = 1;
    for request in up.asked() {
        let ramping = limit < most;
        let open = match (request.kind, ramping) {
            (Kind::Lookup, true) => READS,
            (Kind::Lookup, false) => READS * at_once,
            (_, true) => 1,
            (_, false) => at_once,
        };
        assert!(request.operations <= limit && request.at_once <= open, "{request:?}, {limit} allowed");
        if request.kind == Kind::Write {
            limit = (limit * 2).min(most);
        }
    }
    assert!(limit == most, "it never returned to full size");
}

fn fifty_thousand_events(outage: Outage) {
    run(async {
        let settings = settings();
        let at_once = settings.concurrency + 1;
        let (people, groups) = (5_000, 20);
        let mut past = Past::of(settings, Source::new(people, groups), 50_000, outage).await;
        past.assert_only_probes_are_sent(at_once);
        past.world.rest().await;
        past.assert_one_probe_sees_the_return();
        let up = past.traffic().since(past.up);
        assert_bulks_are_ramped_up(&up, BULK, at_once);
        // a deactivation goes alone, and so do a group's members
        let operations: usize = up.of(Kind::Write).map(|write| write.operations).sum();
        assert!(operations as u64 <= (people + groups) * 5 / 4, "{operations} operations");
        past.assert_it_ends_well().await;
    });
}

#[test]
fn ten_minutes_of_refused_connections_over_fifty_thousand_events_cost_nobody_an_attempt() {
    fifty_thousand_events(Outage::Refused);
}

#[test]
fn ten_minutes_of_errors_and_timeouts_over_fifty_thousand_events_cost_nobody_an_attempt() {
    fifty_thousand_events(Outage::Failing);
}

#[test]
fn ten_minutes_cost_no_attempt_where_only_two_resources_wait() {
    for outage in [Outage::Refused, Outage::Failing, Outage::Any] {
        for mode in [Mode::Auto, Mode::Single] {
            run(async {
                let past = Past::of(Settings { mode, ..settings() }, Source::new(2, 0), 1_000, outage).await;
                past.assert_only_probes_are_sent(2);
                past.assert_it_ends_well().await;
            });
        }
    }
}

#[test]
fn single_requests_return_one_at_a_time() {
    run(async {
        let settings = Settings { mode: Mode::Single, ..settings() };
        let at_once = settings.concurrency + 1;
        let mut past = Past::of(settings, Source::new(500, 5), 2_000, Outage::Any).await;
        past.assert_only_probes_are_sent(at_once);
        past.world.rest().await;
        past.assert_one_probe_sees_the_return();
        let up = past.traffic().since(past.up);
        // each success doubles the next batch, until it is as large as ever
        assert!(up.of(Kind::Write).take(5).all(|write| write.at_once == 1));
        assert!(up.of(Kind::Write).all(|write| write.at_once <= at_once));
        past.assert_it_ends_well().await;
    });
}

/// People are at the target; one of two replicas meets an outage before there is work for both. Returns who, and
/// when the target comes back.
async fn one_meets_the_outage(outage: Outage, source: &mut Source) -> (World, usize, Instant) {
    let mut world = World::calm(profile(), settings());
    world.start(2);
    (0..source.people).for_each(|n| world.publish(source.put(n)));
    world.rest().await;
    let up = Instant::now() + TEN_MINUTES;
    world.parts.target.fail(TEN_MINUTES, outage);
    world.publish(source.next());
    while world.parts.store.memory.circuit().await.unwrap().trouble.is_none() {
        sleep(NAP).await;
    }
    let first = world.parts.target.traffic().of(Kind::Write).last().unwrap().client;
    (world, first, up)
}

#[test]
fn replicas_share_the_breaker_and_its_probes() {
    for outage in [Outage::Refused, Outage::Failing] {
        run(async {
            let mut source = Source::new(200, 0);
            let (mut world, first, up) = one_meets_the_outage(outage, &mut source).await;
            let known = world.parts.clock.now();
            (0..1_000).for_each(|_| world.publish(source.next()));
            // a third one comes, and knows nothing
            world.start(1);
            sleep_until(up).await;
            let up = world.parts.clock.now();

            let down = world.parts.target.traffic().between(known, up);
            assert_eq!(down.asked().count(), 0, "one has met the outage, and the others heed it");
            let probes: Vec<usize> = down.of(Kind::Probe).map(|probe| probe.client).collect();
            assert!(probes.len() <= PAUSES, "{probes:?}");
            assert!(probes.iter().any(|client| *client != first), "whoever is there probes: {probes:?}");
            assert!(down.of(Kind::Probe).all(|probe| probe.at_once == 1));

            world.rest().await;
            let up = world.parts.target.traffic().since(up);
            for replica in 0..3 {
                let mut limit = 1;
                for write in up.of(Kind::Write).filter(|write| write.client == replica) {
                    assert!(write.operations <= limit && write.at_once <= 3, "{write:?}, {limit} allowed");
                    limit *= 2;
                }
            }
            assert!(world.parts.broker.retries().is_empty());
            world.assert_converged();
            world.stop().await;
        });
    }
}

/// Writes fail, while the probe and lookups are answered. The ladder is the default one.
fn only_writes_fail(people: u64, mode: Mode) {
    run(async {
        let delays = [1, 5, 15, 60, 300, 900, 3_600, 21_600].map(Duration::from_secs).to_vec();
        let (routes, ladder) = (routes(delays.len()), Ladder { delays, max_attempts: 12 });
        let mut world = World::calm(profile(), Settings { mode, ladder, routes, ..settings() });
        let mut source = Source::new(people, 0);
        world.start(1);
        (0..people).for_each(|n| world.publish(source.put(n)));
        world.rest().await;
        world.parts.target.fail(TEN_MINUTES, Outage::Writes);
        (0..people * 5).for_each(|_| world.publish(source.next()));
        sleep(TEN_MINUTES).await;
        // the fifth that fails in a row tells that it is not them
        let own = homes(&world.parts.broker.retries()).len();
        assert!(own < FAILING_RESOURCES, "{own} of {people} used attempts, {mode:?}");
        world.rest().await;
        assert_eq!(world.parts.broker.dead().len(), 0);
        world.assert_converged();
        world.stop().await;
    });
}

#[test]
fn ten_minutes_in_which_only_writes_fail_dead_letter_nothing() {
    for people in [5, 6, 10, 50] {
        only_writes_fail(people, Mode::Auto);
        only_writes_fail(people, Mode::Single);
    }
}

#[test]
fn a_batch_of_several_requests_stops_at_the_first_that_meets_an_outage() {
    run(async {
        let mut world = World::calm(profile(), Settings { max_bytes: 4_096, ..settings() });
        let mut source = Source::new(100, 0);
        world.start(1);
        (0..100).for_each(|n| world.publish(source.put(n)));
        world.rest().await;
        let down = world.parts.clock.now();
        world.parts.target.fail(TEN_MINUTES, Outage::Refused);
        (0..100).for_each(|n| world.publish(source.put(n)));
        sleep(Duration::from_secs(300)).await;
        let traffic = world.parts.target.traffic().since(down);
        let sizes: Vec<usize> = traffic.of(Kind::Write).map(|write| write.operations).collect();
        assert!(sizes.len() == 1 && sizes[0] < 100, "{sizes:?}");
        world.rest().await;
        world.assert_converged();
        world.stop().await;
    });
}
