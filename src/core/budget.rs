//! The budget of requests that all replicas share (design D12): a place for each request, evenly paced, and a rate that is
//! learnt where none is configured. Pure: the store keeps [`Books`], and says what time it is.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::schedule::Millis;

/// Microseconds since the epoch, by the store's clock: replicas' own clocks do not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(pub i64);

const SECOND: i64 = 1_000_000;
/// Places are paced so that this much more time than a window goes by before there is one too many in it: requests reach
/// the target a little earlier or later than they were let go.
const LEAST_SLACK: i64 = 75_000;
/// A place that is taken late is caught up with by at least so much: timers are not exact.
const LEAST_LATENESS: i64 = 10_000;
/// How long after its turn somebody urgent still keeps the others waiting.
const GRACE: i64 = 50_000;
/// How often the others look whether that is over.
const LOOK_AGAIN: i64 = 5_000;
/// The lowest learnt rate, in thousandths of a request per second.
const LEAST_LEARNT: i64 = 100;
/// The least that a learnt rate grows in a second of use, in thousandths of a request per second.
const LEAST_STEP: i64 = 200;

/// How many in which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So many, at least 1.
    pub count: u32,
    /// In this time.
    pub unit: Unit,
}

/// The time of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// `/s`
    Second,
    /// `/m`
    Minute,
    /// `/h`
    Hour,
}

impl Unit {
    const ALL: [Unit; 3] = [Unit::Second, Unit::Minute, Unit::Hour];

    const fn letter(self) -> &'static str {
        match self {
            Unit::Second => "s",
            Unit::Minute => "m",
            Unit::Hour => "h",
        }
    }

    const fn micros(self) -> i64 {
        match self {
            Unit::Second => SECOND,
            Unit::Minute => 60 * SECOND,
            Unit::Hour => 3_600 * SECOND,
        }
    }
}

/// Highest number in a rate.
pub const MAX_COUNT: u32 = 100_000;

/// A text that is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no rate")]
pub struct NoRate;

impl FromStr for Rate {
    type Err = NoRate;

    fn from_str(text: &str) -> Result<Self, NoRate> {
        let (count, letter) = text.split_once('/').ok_or(NoRate)?;
        let unit = Unit::ALL.into_iter().find(|unit| unit.letter() == letter).ok_or(NoRate)?;
        let digits = count.bytes().all(|byte| byte.is_ascii_digit());
        let count = count.parse().ok().filter(|count| digits && (1..=MAX_COUNT).contains(count));
        Ok(Self { count: count.ok_or(NoRate)?, unit })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.unit.letter())
    }
}

/// How places follow one another, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From one place to the next.
    pub slot: i64,
    /// How much of a place taken late is caught up with.
    pub late: i64,
    /// How far ahead of its time a place may be taken: the burst.
    pub ahead: i64,
    /// A place that was not used within this is given up: it would crowd those that follow.
    pub stale: i64,
}

impl Pace {
    /// Never more than the rate in any window of its time, if nothing takes more than `largest` at once; `burst`: so many
    /// at once after a rest, all but one of them on top of the rate.
    pub fn of(rate: Rate, largest: u32, burst: u32) -> Self {
        let window = rate.unit.micros();
        let slack = LEAST_SLACK.max(window / 100);
        let places = i64::from(rate.count.saturating_sub(largest.saturating_sub(1)).max(1));
        let slot = (window + slack + places - 1) / places;
        let late = (slot / 2).max(LEAST_LATENESS).min(slack / 6);
        Self { slot, late, ahead: slot * i64::from(burst.saturating_sub(1)), stale: slack / 2 }
    }

    /// That of a learnt rate.
    pub fn learnt(thousandths: i64) -> Self {
        let slot = 1_000 * SECOND / thousandths.max(1);
        Self { slot, late: LEAST_LATENESS, ahead: 0, stale: LEAST_SLACK / 2 }
    }
}

/// What the configuration says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The fixed rate of requests; none: it is learnt.
    pub requests: Option<Rate>,
    /// So many requests at once after a rest; 0 and 1 are the same.
    pub burst: u32,
    /// The rate of operations.
    pub operations: Option<Rate>,
}

impl Limits {
    /// How requests are paced.
    pub fn requests_pace(&self) -> Option<Pace> {
        self.requests.map(|rate| Pace::of(rate, 1, self.burst))
    }

    /// How operations are paced.
    pub fn operations_pace(&self) -> Option<Pace> {
        Some(Pace::of(self.operations?, self.most_at_once()?, 1))
    }

    /// The most operations of one request. The larger it is, the slower the pace that keeps the rate in every window; the
    /// smaller, the more requests are needed, and they may have a rate of their own.
    pub fn most_at_once(&self) -> Option<u32> {
        let rate = self.operations?;
        let per_request = self.requests.map_or(1, |requests| {
            let ratio = (i64::from(rate.count) * requests.unit.micros())
                / (i64::from(requests.count) * rate.unit.micros());
            u32::try_from(ratio).unwrap_or(u32::MAX)
        });
        Some((rate.count / 10).max(per_request.min(rate.count / 3)).max(1))
    }
}

/// Asks for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// It goes before all that are not.
    pub urgent: bool,
    /// How requests are paced; none: as was learnt, if anything was.
    pub requests: Option<Pace>,
    /// How operations are paced.
    pub operations: Option<Pace>,
    /// How many operations the request carries.
    pub cost: u32,
    /// Now by the relay's clock, which pauses of the target are measured by; none: even while it is paused.
    pub clock: Option<Millis>,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The place is taken: at this time, under a rate or not.
    Taken(Micros, Budgeted),
    /// Ask again after this time: nothing is reserved, so that somebody urgent can come in between.
    Wait(Duration),
    /// The target is paused, and nobody sends anything.
    Paused,
}

/// Whether requests are counted against a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budgeted {
    /// They are.
    Yes,
    /// There is no rate, neither configured nor learnt.
    No,
}

/// A rate that was learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learnt {
    /// Thousandths of a request per second.
    pub rate: i64,
    /// How much it grows in a second of use.
    pub step: i64,
    /// When it was last cut.
    pub cut: Micros,
}

/// What is known of the places taken. The scripts `spend.lua` and `refuse.lua` do the same, in the same integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// When a place was last taken.
    pub at: i64,
    /// From when the next place is free.
    pub next: i64,
    /// From when operations are free.
    pub operations: i64,
    /// Until when the others wait for somebody urgent.
    pub urgent: i64,
    /// The second in which requests without a rate are counted, how many there were in it, and in the one before.
    pub second: i64,
    /// So many in it.
    pub count: i64,
    /// So many in the one before.
    pub before: i64,
    /// The learnt rate.
    pub learnt: Option<Learnt>,
}

impl Books {
    /// How long it is until a place is free.
    pub fn free_in(&self, requests: Option<Pace>, now: Micros) -> Duration {
        let requests = requests.or(self.learnt.map(|learnt| Pace::learnt(learnt.rate)));
        let ready = requests.map_or(now.0, |pace| self.next - pace.ahead).max(self.operations);
        micros((ready - now.0).max(0))
    }

    /// Takes a place now, or says how long to wait.
    pub fn spend(&mut self, ask: &Ask, now: Micros) -> Grant {
        let now = now.0;
        self.follow_clock(now);
        let requests = ask.requests.or(self.learnt.map(|learnt| Pace::learnt(learnt.rate)));
        let mut ready = now;
        if let Some(pace) = requests {
            ready = ready.max(self.next - pace.ahead);
        }
        if ask.operations.is_some() {
            ready = ready.max(self.operations);
        }
        if ready > now && ask.urgent {
            self.urgent = self.urgent.max(ready + GRACE);
        }
        if !ask.urgent {
            ready = ready.max(self.urgent.min(now + LOOK_AGAIN));
        }
        if ready > now {
            return Grant::Wait(micros(ready - now));
        }
        if ask.urgent {
            self.urgent = 0;
        }
        if let Some(pace) = requests {
            self.grow(ask, pace, now);
            self.next = self.next.max(now - pace.late) + pace.slot;
        }
        if let Some(pace) = ask.operations {
            self.operations = self.operations.max(now - pace.late) + pace.slot * i64::from(ask.cost);
        }
        self.at = now;
        self.count(now);
        Grant::Taken(Micros(now), if requests.is_some() { Budgeted::Yes } else { Budgeted::No })
    }

    /// The target answered 429 to a request whose place was taken at `taken`: the rate is cut, once for all that were under
    /// way. The first time it begins with what went through in the best of the last two seconds.
    pub fn refuse(&mut self, taken: Micros, now: Micros) {
        if self.learnt.is_some_and(|learnt| taken <= learnt.cut) {
            return;
        }
        let base = self.learnt.map_or(self.count.max(self.before) * 1_000, |learnt| learnt.rate);
        let rate = (base * 7 / 10).max(LEAST_LEARNT);
        self.learnt = Some(Learnt { rate, step: (base / 50).max(LEAST_STEP), cut: now });
    }

    /// Another server of the store may be behind the last one: what is known goes back with it.
    fn follow_clock(&mut self, now: i64) {
        let behind = self.at - now;
        if behind <= 0 {
            return;
        }
        self.at = now;
        self.next -= behind;
        self.operations -= behind;
        self.urgent -= behind;
        if let Some(learnt) = &mut self.learnt {
            learnt.cut.0 -= behind;
        }
    }

    /// A learnt rate grows by use: while places are taken one after the other.
    fn grow(&mut self, ask: &Ask, pace: Pace, now: i64) {
        let in_use = self.next + pace.slot >= now;
        if let Some(learnt) = self.learnt.as_mut().filter(|_| ask.requests.is_none() && in_use) {
            learnt.rate += (learnt.step * pace.slot / SECOND).clamp(1, learnt.rate / 10 + 1);
        }
    }

    fn count(&mut self, now: i64) {
        let second = now / SECOND;
        if second != self.second {
            self.before = if second == self.second + 1 { self.count } else { 0 };
            (self.second, self.count) = (second, 0);
        }
        self.count += 1;
    }
}

/// A time span that is not negative.
pub fn micros(span: i64) -> Duration {
    Duration::from_micros(u64::try_from(span).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: i64 = 1_750_000_000 * SECOND;

    fn ask(rate: Option<Rate>) -> Ask {
        Ask {
            urgent: false,
            requests: rate.map(|rate| Pace::of(rate, 1, 1)),
            operations: None,
            cost: 1,
            clock: None,
        }
    }

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    /// When somebody who asks again each time, `late` after the time said, gets so many places.
    fn places(books: &mut Books, ask: &Ask, count: usize, mut late: impl FnMut() -> i64) -> Vec<i64> {
        let (mut now, mut taken) = (START, Vec::new());
        while taken.len() < count {
            match books.spend(ask, Micros(now)) {
                Grant::Taken(..) => taken.push(now),
                Grant::Wait(wait) => now += i64::try_from(wait.as_micros()).unwrap() + late(),
                Grant::Paused => panic!("the books know of no pause"),
            }
        }
        taken
    }

    fn most_within(times: &[i64], window: i64) -> usize {
        (0..times.len())
            .map(|first| times[first..].iter().take_while(|at| **at < times[first] + window).count())
            .max()
            .unwrap_or(0)
    }

    #[test]
    fn a_rate_is_read_as_it_is_written() {
        for text in ["50/s", "180/m", "1000/h"] {
            assert_eq!(rate(text).to_string(), text);
        }
        for wrong in
            ["", "0", "50", "/s", "0/s", "-1/s", "+1/s", "50/d", "50/ s", "1.5/s", "100001/s", "50/s/s"]
        {
            assert_eq!(wrong.parse::<Rate>(), Err(NoRate), "{wrong}");
        }
    }

    #[test]
    fn no_window_holds_more_than_the_rate_and_nearly_all_of_it_is_used() {
        for text in ["1/s", "2/s", "50/s", "1000/s", "180/m", "1000/h"] {
            let rate = rate(text);
            let window = rate.unit.micros();
            let taken = places(&mut Books::default(), &ask(Some(rate)), 5 * rate.count as usize, || 0);
            assert!(most_within(&taken, window + LEAST_SLACK / 2) <= rate.count as usize, "{text}");
            let span = taken.last().unwrap() - taken[0];
            assert!(span < 5 * window * 108 / 100, "{text}: {span}");
        }
    }

    #[test]
    fn nothing_is_saved_up_while_nobody_asks() {
        let mut books = Books::default();
        let ask = ask(Some(rate("50/s")));
        assert!(matches!(books.spend(&ask, Micros(START - 60 * SECOND)), Grant::Taken(..)));
        let taken = places(&mut books, &ask, 200, || 0);
        assert!(most_within(&taken, SECOND) <= 50);
    }

    #[test]
    fn a_burst_goes_at_once_after_a_rest() {
        let mut books = Books::default();
        let ask = Ask { requests: Some(Pace::of(rate("10/s"), 1, 5)), ..ask(None) };
        let taken = places(&mut books, &ask, 100, || 0);
        assert_eq!(taken.iter().filter(|at| **at == START).count(), 5);
        assert!(most_within(&taken, SECOND) <= 14);
    }

    #[test]
    fn who_is_urgent_goes_before_all_that_wait() {
        let mut books = Books::default();
        let patient = ask(Some(rate("10/s")));
        let urgent = Ask { urgent: true, ..patient };
        assert!(matches!(books.spend(&patient, Micros(START)), Grant::Taken(..)));
        let Grant::Wait(wait) = books.spend(&patient, Micros(START + 1)) else { panic!() };
        let turn = START + 1 + i64::try_from(wait.as_micros()).unwrap();
        assert_eq!(books.spend(&urgent, Micros(START + 2)), Grant::Wait(micros(turn - START - 2)));
        assert!(matches!(books.spend(&patient, Micros(turn)), Grant::Wait(_)), "it waits for the urgent one");
        assert!(matches!(books.spend(&urgent, Micros(turn + 1_000)), Grant::Taken(..)));
        let Grant::Wait(wait) = books.spend(&patient, Micros(turn + 2_000)) else { panic!() };
        assert!(wait > Duration::from_millis(80), "the place is gone: {wait:?}");
    }

    #[test]
    fn an_urgent_one_that_never_comes_back_does_not_hold_up_the_others() {
        let mut books = Books::default();
        let patient = ask(Some(rate("10/s")));
        books.spend(&patient, Micros(START));
        books.spend(&Ask { urgent: true, ..patient }, Micros(START));
        let taken = places(&mut books, &patient, 1, || 0)[0];
        assert!(taken - START < 200_000, "{}", taken - START);
    }

    #[test]
    fn operations_count_one_by_one_and_a_large_request_is_paid_afterwards() {
        let limits = Limits { operations: Some(rate("200/s")), ..Limits::default() };
        assert_eq!(limits.most_at_once(), Some(20));
        let mut books = Books::default();
        let ask = Ask { operations: limits.operations_pace(), cost: 20, ..ask(None) };
        let taken = places(&mut books, &ask, 100, || 0);
        assert!(most_within(&taken, SECOND) * 20 <= 200);
        let slow = Limits { requests: Some(rate("180/m")), ..limits };
        assert_eq!(slow.most_at_once(), Some(66), "few requests carry many operations");
    }

    #[test]
    fn without_a_rate_nobody_waits_and_the_first_refusal_makes_one_of_what_went_through() {
        let mut books = Books::default();
        for n in 0..40 {
            let now = Micros(START + n * 10_000);
            assert_eq!(books.spend(&ask(None), now), Grant::Taken(now, Budgeted::No));
        }
        books.refuse(Micros(START + 390_000), Micros(START + 400_000));
        let learnt = books.learnt.unwrap();
        assert_eq!((learnt.rate, learnt.step), (28_000, 800));
        books.refuse(Micros(START + 380_000), Micros(START + 410_000));
        assert_eq!(books.learnt, Some(learnt), "it was under way when the rate was cut");
        books.refuse(Micros(START + 420_000), Micros(START + 430_000));
        assert_eq!(books.learnt.unwrap().rate, 19_600);
    }

    #[test]
    fn a_learnt_rate_grows_while_it_is_used() {
        let learnt = Learnt { rate: 10_000, step: 200, cut: Micros(START) };
        let mut books = Books { learnt: Some(learnt), next: START, at: START, ..Books::default() };
        let taken = places(&mut books, &ask(None), 200, || 0);
        let seconds = (taken.last().unwrap() - taken[0]) / SECOND;
        let grown = books.learnt.unwrap().rate - 10_000;
        assert!((seconds * 150..=seconds * 250).contains(&grown), "{grown} in {seconds} s");
        let rested = books.learnt.unwrap().rate;
        books.spend(&ask(None), Micros(taken.last().unwrap() + 60 * SECOND));
        assert_eq!(books.learnt.unwrap().rate, rested, "not by itself");
    }

    #[test]
    fn a_clock_that_goes_back_takes_the_books_with_it() {
        let mut books = Books::default();
        let ask = ask(Some(rate("10/s")));
        books.spend(&ask, Micros(START));
        let Grant::Wait(wait) = books.spend(&ask, Micros(START - 3_600 * SECOND)) else { panic!() };
        assert!(wait < Duration::from_millis(200), "{wait:?}");
    }

    proptest! {
        #[test]
        fn no_lateness_lets_more_through(late in proptest::collection::vec(0i64..60_000, 1..20), count in 1u32..200) {
            let rate = Rate { count, unit: Unit::Second };
            let mut late = late.into_iter().cycle();
            let taken = places(&mut Books::default(), &ask(Some(rate)), 3 * count as usize, || late.next().unwrap());
            prop_assert!(most_within(&taken, SECOND + LEAST_SLACK / 2) <= count as usize);
        }
    }
}
