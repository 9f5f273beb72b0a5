//! The guard against mass deprovisioning (design D13): how many resources of one type may be deprovisioned within an hour
//! and within a day. What goes beyond waits for an operator. Pure; time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::change::{Delta, Lifecycle, Register};
use super::desired::Presence;
use super::mark::{Mark, Stage};
use super::path::Path;
use super::plan::Purpose;
use super::record::Record;
use super::resource::ResourceKey;
use super::schedule::Millis;

/// What `deprovision.guard` says. Each limit holds alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Resources of one type within an hour.
    pub max_per_hour: u64,
    /// Resources of one type within a day.
    pub max_per_day: u64,
    /// Of a hundred that were active when the hour or the day began.
    pub max_percent: u64,
    /// The share counts where more than so many were active.
    pub min_resources: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_per_hour: 200, max_per_day: 500, max_percent: 10, min_resources: 200 }
    }
}

/// A window: it slides, and ends now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Window {
    /// The last hour.
    Hour,
    /// The last day.
    Day,
}

impl Window {
    /// How long it is.
    pub const fn length(self) -> Duration {
        match self {
            Window::Hour => Duration::from_secs(3_600),
            Window::Day => Duration::from_secs(24 * 3_600),
        }
    }

    /// The word in texts.
    pub const fn name(self) -> &'static str {
        match self {
            Window::Hour => "hour",
            Window::Day => "day",
        }
    }

    /// The last millisecond before it.
    pub fn before(self, now: Millis) -> Millis {
        Millis(now.0.saturating_sub(i64::try_from(self.length().as_millis()).unwrap_or(i64::MAX)))
    }
}

/// Resources of one type that were active when each window began: those that are now, and those deprovisioned since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Began {
    /// When the hour began.
    pub hour: u64,
    /// When the day began.
    pub day: u64,
}

/// The most resources of one type in each window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// In the hour.
    pub hour: u64,
    /// In the day.
    pub day: u64,
}

impl Limits {
    /// The most that each window takes.
    pub fn most(&self, began: Began) -> Most {
        let share = |active: u64| match active > self.min_resources {
            true => active.saturating_mul(self.max_percent) / 100,
            false => u64::MAX,
        };
        Most { hour: self.max_per_hour.min(share(began.hour)), day: self.max_per_day.min(share(began.day)) }
    }
}

/// Whether a resource may be deprovisioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It has a place, or had one already.
    Granted,
    /// This window takes no more.
    Full(Window),
}

/// The places that resources of one type have taken, and when.
#[derive(Clone, Debug, Default)]
pub struct Places(BTreeMap<ResourceKey, Millis>);

impl Places {
    /// Takes a place for a resource. One that has a place in the hour keeps it; one that has an older one counts in the
    /// hour again, and in the day once.
    pub fn admit(&mut self, key: &ResourceKey, most: Most, now: Millis) -> Admission {
        self.0.retain(|_, at| *at > Window::Day.before(now));
        let held = self.0.get(key).copied();
        if held.is_some_and(|at| at > Window::Hour.before(now)) {
            return Admission::Granted;
        }
        if self.taken(Window::Hour, now) >= most.hour {
            return Admission::Full(Window::Hour);
        }
        if held.is_none() && self.taken(Window::Day, now) >= most.day {
            return Admission::Full(Window::Day);
        }
        self.0.insert(key.clone(), now);
        Admission::Granted
    }

    /// Gives back a place that was taken at this time; a later one stays.
    pub fn restore(&mut self, key: &ResourceKey, at: Millis) {
        let held = self.0.entry(key.clone()).or_insert(at);
        *held = at.max(*held);
    }

    /// Who has a place in a window.
    pub fn within(&self, window: Window, now: Millis) -> impl Iterator<Item = &ResourceKey> {
        let before = window.before(now);
        self.0.iter().filter(move |(_, at)| **at > before).map(|(key, _)| key)
    }

    fn taken(&self, window: Window, now: Millis) -> u64 {
        u64::try_from(self.within(window, now).count()).unwrap_or(u64::MAX)
    }
}

/// The word by which a resource is to be deprovisioned, with what became of it so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Deciding {
    /// The word alone, as an intent.
    pub intent: Delta,
    /// Its mark.
    pub mark: Mark,
}

/// The word that the guard is to be asked about before a write of this purpose. None: it deprovisions nothing, or an
/// operator let it through.
pub fn deciding(record: &Record, purpose: Purpose) -> Option<Deciding> {
    match purpose {
        Purpose::Deactivate | Purpose::Delete => {}
        Purpose::Create | Purpose::Update | Purpose::Members => return None,
    }
    let decisive = match record.desired.presence() {
        Presence::Deleted => record.desired.deleted().map(|floor| {
            let lifecycle = Lifecycle { deleted: Some(floor.revision.clone()), put: None };
            Deciding { intent: Delta { lifecycle, ..Delta::default() }, mark: floor.mark }
        }),
        Presence::Alive | Presence::Unborn => {
            let active = Path::core("active");
            let said = record.desired.registers().find(|(path, _)| **path == active);
            said.map(|(path, held)| {
                let (value, revision) = (Some(Value::Bool(false)), held.revision.clone());
                let attributes = vec![Register::new(path.clone(), value, revision)];
                Deciding { intent: Delta { attributes, ..Delta::default() }, mark: held.mark }
            })
        }
    };
    decisive.filter(|word| word.mark.stage != Stage::Approved)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { max_per_hour: 30, max_per_day: 50, max_percent: 10, min_resources: 200 };

    fn key(n: u32) -> ResourceKey {
        format!("User/{n}").parse().unwrap()
    }

    fn minutes(n: i64) -> Millis {
        Millis(n * 60_000)
    }

    /// How many of `n` resources get a place at this minute.
    fn granted(places: &mut Places, from: u32, n: u32, most: Most, minute: i64) -> usize {
        let admitted = (from..from + n).map(|n| places.admit(&key(n), most, minutes(minute)));
        admitted.filter(|admission| *admission == Admission::Granted).count()
    }

    #[test]
    fn each_limit_holds_alone() {
        let most = |active| LIMITS.most(Began { hour: active, day: active });
        assert_eq!(most(200), Most { hour: 30, day: 50 });
        assert_eq!(most(201), Most { hour: 20, day: 20 });
        assert_eq!(most(400), Most { hour: 30, day: 40 });
        assert_eq!(most(10_000), Most { hour: 30, day: 50 });
    }

    #[test]
    fn the_hour_slides_and_a_slow_drip_meets_the_day() {
        let (mut places, most) = (Places::default(), LIMITS.most(Began::default()));
        assert_eq!(granted(&mut places, 0, 40, most, 0), 30);
        assert_eq!(places.admit(&key(30), most, minutes(59)), Admission::Full(Window::Hour));
        assert_eq!(granted(&mut places, 30, 40, most, 60), 20);
        assert_eq!(places.admit(&key(50), most, minutes(121)), Admission::Full(Window::Day));
        assert_eq!(granted(&mut places, 50, 40, most, 24 * 60), 30);
    }

    #[test]
    fn a_resource_counts_once_however_often_it_asks() {
        let (mut places, most) = (Places::default(), Most { hour: 1, day: 1 });
        for minute in [0, 1, 59, 61, 100] {
            assert_eq!(places.admit(&key(1), most, minutes(minute)), Admission::Granted, "{minute}");
        }
        assert_eq!(places.admit(&key(2), most, minutes(101)), Admission::Full(Window::Hour));
    }

    proptest! {
        #[test]
        fn no_window_ever_takes_more_than_it_may(
            asked in prop::collection::vec((0_u32..60, 0_i64..40), 1..300),
            hour in 0_u64..10, day in 0_u64..20,
        ) {
            let (mut places, most, mut now) = (Places::default(), Most { hour, day }, 0);
            let mut granted: Vec<(u32, i64)> = Vec::new();
            for (who, wait) in asked {
                now += wait;
                if places.admit(&key(who), most, minutes(now)) == Admission::Granted {
                    granted.push((who, now));
                }
                for (length, most) in [(60, hour), (24 * 60, day)] {
                    let taken = places.within(if length == 60 { Window::Hour } else { Window::Day }, minutes(now));
                    prop_assert!(taken.count() as u64 <= most);
                }
                // whoever was let through lately has a place
                let has = |who: u32| places.within(Window::Hour, minutes(now)).any(|held| *held == key(who));
                prop_assert!(granted.iter().all(|(who, at)| *at < now || has(*who)));
            }
        }
    }
}
