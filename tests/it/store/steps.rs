//! What happens to a store, as data: steps, how they are drawn, and what a store answers to them.

use std::fmt::Debug;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use scim_relay::core::budget::{Ask, Micros, Pace};
use scim_relay::core::generation::Generation;
use scim_relay::core::mark::{Mark, Stage};
use scim_relay::core::record::{MemberEntry, Record};
use scim_relay::core::resource::{ResourceKey, ResourceType, TargetId};
use scim_relay::core::revision::{EventHash, Place, Revision, Sequence};
use scim_relay::core::schedule::{Due, Lane, Millis};
use scim_relay::pipeline::ports::{Budget, Load, Reschedule, Store, StoreError, Swap, Version};

/// Resources; the first and the last lie in one bucket, and one has a name that could break a key.
pub const KEYS: [&str; 5] = ["User/e-1", "User/é {x}", "Group/a b/c", "Group/g-1", "Group/g-28"];
/// Members.
pub const MEMBERS: [&str; 4] = ["e-1", "é", "{m}", ""];
/// Processes.
pub const OWNERS: [&str; 2] = ["one", "two"];
/// Identifiers at the target.
pub const IDS: [&str; 3] = ["t-1", "t-2", "t 3"];
/// Names of notes.
pub const NOTES: [&str; 2] = ["bound", "ü"];
/// When the clock starts.
pub const START: Millis = Millis(1_750_000_000_000);
/// More than there is.
const ALL: usize = 1_000;
/// Longer than all steps together take by the test's clock.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// Which version a swap expects.
#[derive(Clone, Copy, Debug)]
pub enum Expected {
    /// The one that is there.
    Current,
    /// The one before.
    Before,
    /// The next one.
    After,
    /// None, as if there were no record.
    None,
}

/// A swap before its version is known.
#[derive(Clone, Debug)]
pub struct Draft {
    pub key: ResourceKey,
    pub expected: Expected,
    pub record: Record,
    pub members: Vec<(String, Option<MemberEntry>)>,
    pub reschedule: Reschedule,
}

/// One call of the store, or something that happens to it.
#[derive(Clone, Debug)]
pub enum Step {
    Load(Vec<(ResourceKey, Vec<String>)>),
    Swap(Vec<Draft>),
    DirtyMembers(ResourceKey, usize),
    ScanMembers(ResourceKey),
    Take {
        lanes: Vec<Lane>,
        hold: Duration,
        limit: usize,
    },
    NextDue(Vec<Lane>),
    Touch(Vec<(ResourceKey, Due)>),
    TouchMember(Vec<(ResourceKey, Due)>, String, bool),
    Renew {
        owner: String,
        held: Vec<ResourceKey>,
    },
    Leases(Vec<(ResourceKey, String)>),
    Depend(ResourceKey, ResourceKey),
    Dependents(ResourceKey),
    Release(ResourceKey, Vec<ResourceKey>),
    Own(ResourceType, TargetId, ResourceKey),
    Disown(ResourceType, TargetId, ResourceKey),
    Remember(String, String),
    Recall(String),
    Backlog,
    Ping,
    /// The target is paused for so many milliseconds.
    Pause(u64),
    /// Asks for a place so many microseconds after now, or before; in a pause too.
    Spend(Ask, i64, bool),
    /// 429 so many microseconds after now, to the request whose place was taken so many before that.
    Refuse(i64, i64),
    /// Time passes.
    Wait(Duration),
    /// So much that all leases end.
    LeasesEnd,
    /// The server forgets its scripts.
    ScriptsAreForgotten,
}

/// All keys.
pub fn keys() -> Vec<ResourceKey> {
    KEYS.iter().map(|key| key.parse().unwrap()).collect()
}

/// Any sequence of steps.
pub fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..most)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => vec(draft(), 0..4).prop_map(Step::Swap),
        3 => vec((key(), vec(member(), 0..3)), 0..4).prop_map(Step::Load),
        2 => schedule_step(),
        2 => ledger_step(),
        2 => vec((key(), due()), 0..3).prop_map(Step::Touch),
        3 => (vec((key(), due()), 0..3), member(), any::<bool>())
            .prop_map(|(groups, member, doubt)| Step::TouchMember(groups, member, doubt)),
        2 => lease_step(),
        3 => dependents_step(),
        2 => owner_step(),
        6 => budget_step(),
        1 => (note(), ".{0,8}").prop_map(|(name, note)| Step::Remember(name, note)),
        1 => note().prop_map(Step::Recall),
        2 => (0u64..20).prop_map(|ms| Step::Wait(Duration::from_millis(ms))),
        1 => Just(Step::Ping),
        1 => Just(Step::ScriptsAreForgotten),
    ]
}

fn schedule_step() -> impl Strategy<Value = Step> {
    let hold = (1u64..30).prop_map(Duration::from_millis);
    prop_oneof![
        (lanes(), hold, 0usize..6).prop_map(|(lanes, hold, limit)| Step::Take { lanes, hold, limit }),
        lanes().prop_map(Step::NextDue),
        Just(Step::Backlog),
    ]
}

fn ledger_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (key(), 0usize..4).prop_map(|(key, limit)| Step::DirtyMembers(key, limit)),
        key().prop_map(Step::ScanMembers),
    ]
}

fn lease_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (owner(), vec(key(), 0..3)).prop_map(|(owner, held)| Step::Renew { owner, held }),
        vec((key(), owner()), 0..4).prop_map(Step::Leases),
        Just(Step::LeasesEnd),
    ]
}

fn dependents_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (key(), key()).prop_map(|(on, dependent)| Step::Depend(on, dependent)),
        1 => key().prop_map(Step::Dependents),
        1 => (key(), vec(key(), 0..3)).prop_map(|(on, dependents)| Step::Release(on, dependents)),
    ]
}

fn owner_step() -> impl Strategy<Value = Step> {
    let parts = || (select(ResourceType::ALL.to_vec()), id(), key());
    prop_oneof![
        parts().prop_map(|(kind, id, key)| Step::Own(kind, id, key)),
        parts().prop_map(|(kind, id, key)| Step::Disown(kind, id, key)),
    ]
}

fn pace(rates: &[&'static str]) -> impl Strategy<Value = Pace> {
    let rate = select(rates.to_vec());
    (rate, 1u32..3, 1u32..4).prop_map(|(rate, most, burst)| Pace::of(rate.parse().unwrap(), most, burst))
}

fn ask(rates: &'static [&'static str]) -> impl Strategy<Value = Ask> {
    let paces = (option::weighted(0.4, pace(rates)), option::weighted(0.3, pace(rates)));
    (any::<bool>(), paces, 0u32..30).prop_map(|(urgent, (requests, operations), cost)| Ask {
        urgent,
        requests,
        operations,
        cost,
        clock: None,
    })
}

fn budget_step() -> impl Strategy<Value = Step> {
    let ask = ask(&["1/s", "7/s", "400/s", "180/m", "1000/h"]);
    // mostly on; a server that is behind the last one goes back
    let when = prop_oneof![4 => 0i64..40_000, 1 => -2_000_000i64..2_000_000];
    prop_oneof![
        8 => (ask, when, any::<bool>()).prop_map(|(ask, when, probe)| Step::Spend(ask, when, probe)),
        1 => (0i64..40_000, 0i64..100_000).prop_map(|(when, before)| Step::Refuse(when, before)),
        1 => (1u64..30).prop_map(Step::Pause),
    ]
}

/// Nothing but places taken and refused, one after the other.
pub fn budget_steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let on = prop_oneof![
        5 => 0i64..4_000,
        4 => 0i64..60_000,
        2 => 500_000i64..1_500_000,
        1 => -60_000i64..0,
    ];
    let step = prop_oneof![8 => ask(&["7/s", "50/s"]).prop_map(Some), 1 => Just(None)];
    vec((on, step, 0i64..60_000), 1..most).prop_map(|steps| {
        let mut at = 0;
        let steps = steps.into_iter().map(|(on, ask, before)| {
            at += on;
            ask.map_or(Step::Refuse(at, before), |ask| Step::Spend(ask, at, false))
        });
        steps.collect()
    })
}

fn key() -> impl Strategy<Value = ResourceKey> {
    select(keys())
}

fn member() -> impl Strategy<Value = String> {
    select(MEMBERS.to_vec()).prop_map(str::to_owned)
}

fn owner() -> impl Strategy<Value = String> {
    select(OWNERS.to_vec()).prop_map(str::to_owned)
}

fn note() -> impl Strategy<Value = String> {
    select(NOTES.to_vec()).prop_map(str::to_owned)
}

fn id() -> impl Strategy<Value = TargetId> {
    select(IDS.to_vec()).prop_map(|id| TargetId::new(id).unwrap())
}

fn due() -> impl Strategy<Value = Due> {
    let at = (0i64..60).prop_map(|ms| Millis(START.0 + ms));
    (select(Lane::ALL.to_vec()), at).prop_map(|(lane, at)| Due { lane, at })
}

fn lanes() -> impl Strategy<Value = Vec<Lane>> {
    proptest::sample::subsequence(Lane::ALL.to_vec(), 0..=4)
}

fn draft() -> impl Strategy<Value = Draft> {
    let expected = prop_oneof![
        6 => Just(Expected::Current),
        1 => Just(Expected::Before),
        1 => Just(Expected::After),
        1 => Just(Expected::None),
    ];
    let reschedule = prop_oneof![Just(Reschedule::AsRecord), Just(Reschedule::Keep)];
    let members = vec((member(), option::weighted(0.8, entry())), 0..4);
    (key(), expected, record(), members, reschedule).prop_map(
        |(key, expected, record, members, reschedule)| Draft { key, expected, record, members, reschedule },
    )
}

fn record() -> impl Strategy<Value = Record> {
    (option::of(due()), option::of(id()), any::<u64>(), vec(".{0,8}", 0..2))
        .prop_map(|(due, id, epoch, event_ids)| Record { due, id, epoch, event_ids, ..Record::default() })
}

/// One of many, in the order of their numbers.
pub fn revision(n: u32) -> Revision {
    Revision::new(Place {
        sequence: Sequence::new(n.to_string()),
        time: None,
        id: format!("id{n}").into(),
        hash: EventHash::new([7; 32]),
    })
}

/// Entries in every state that a store has to tell apart.
fn entry() -> impl Strategy<Value = MemberEntry> {
    (0u8..4, any::<bool>(), option::of(id()), 0u8..4).prop_map(|(sequence, present, applied, state)| {
        let mut entry = MemberEntry::new(revision(u32::from(sequence)));
        (entry.present, entry.applied) = (present, applied);
        let stage = if state == 0 { Stage::Dead } else { Stage::Live };
        (entry.mark, entry.dirty) = (Mark::new(0, stage), state > 1);
        entry
    })
}

/// Does a step, and says what the store answered; what a store may choose freely is left out.
pub async fn answer<S: Store + Budget>(store: &S, step: &Step, now: Millis) -> String {
    match step {
        Step::Load(what) => text(store.load(&loads(what)).await.unwrap()),
        Step::Swap(drafts) => text(store.swap(&with_versions(store, drafts).await).await.unwrap()),
        Step::DirtyMembers(key, limit) => dirty_members(store, key, *limit).await,
        Step::ScanMembers(key) => text(ledger(store, key).await),
        Step::Take { lanes, hold, limit } => take(store, lanes, now, *hold, *limit).await,
        Step::NextDue(lanes) => {
            text((store.next_due(lanes).await.unwrap(), store.due_count(lanes, now).await.unwrap()))
        }
        Step::Touch(keys) => done(store.touch(keys).await),
        Step::TouchMember(groups, member, doubt) => done(store.touch_member(groups, member, *doubt).await),
        Step::Renew { owner, held } => done(store.renew(owner, held, Generation(0), now, LONG).await),
        Step::Leases(claims) => text(store.leases(claims).await.unwrap()),
        Step::Depend(on, dependent) => text(store.depend(on, dependent).await.unwrap()),
        Step::Dependents(on) => text(store.dependents(on).await.unwrap()),
        Step::Release(on, dependents) => done(store.release(on, dependents).await),
        Step::Own(kind, id, key) => text(store.own(*kind, id, key).await.unwrap()),
        Step::Disown(kind, id, key) => done(store.disown(*kind, id, key).await),
        Step::Remember(name, note) => done(store.remember(name, note).await),
        Step::Recall(name) => text(store.recall(name).await.unwrap()),
        Step::Backlog => text(store.backlog().await.unwrap()),
        Step::Ping => done(store.ping().await),
        Step::Pause(ms) => done(store.trip(now, now.plus(Duration::from_millis(*ms)), None).await),
        Step::Spend(ask, when, probe) => {
            let ask = Ask { clock: (!probe).then_some(now), ..*ask };
            text(store.spend(ask, Some(Micros(now.0 * 1_000 + when))).await.unwrap())
        }
        Step::Refuse(when, before) => {
            let now = now.0 * 1_000 + when;
            done(store.refuse(Micros(now - before), Some(Micros(now))).await)
        }
        Step::Wait(_) | Step::LeasesEnd | Step::ScriptsAreForgotten => String::new(),
    }
}

fn done(answer: Result<(), StoreError>) -> String {
    text(answer.map_err(|error| error.to_string()))
}

fn text(answer: impl Debug) -> String {
    format!("{answer:?}")
}

fn loads(what: &[(ResourceKey, Vec<String>)]) -> Vec<Load> {
    what.iter().map(|(key, members)| Load { key: key.clone(), members: members.clone() }).collect()
}

async fn with_versions<S: Store>(store: &S, drafts: &[Draft]) -> Vec<Swap> {
    let all: Vec<Load> =
        drafts.iter().map(|draft| Load { key: draft.key.clone(), members: Vec::new() }).collect();
    let loaded = store.load(&all).await.unwrap();
    let swaps = drafts.iter().zip(loaded).map(|(draft, loaded)| Swap {
        key: draft.key.clone(),
        expected: match draft.expected {
            Expected::Current => loaded.version,
            Expected::Before => Version::of(loaded.version.counter.saturating_sub(1)),
            Expected::After => Version::of(loaded.version.counter + 1),
            Expected::None => Version::of(0),
        },
        record: draft.record.clone(),
        members: draft.members.clone(),
        reschedule: draft.reschedule,
    });
    swaps.collect()
}

/// Which ones come first is the store's choice, how many is not.
async fn dirty_members<S: Store>(store: &S, key: &ResourceKey, limit: usize) -> String {
    let all = store.dirty_members(key, ALL).await.unwrap();
    let some = store.dirty_members(key, limit).await.unwrap();
    assert!(some.iter().all(|entry| all.contains(entry)), "{some:?} of {all:?}");
    text((all, some.len()))
}

async fn ledger<S: Store>(store: &S, key: &ResourceKey) -> Vec<(String, MemberEntry)> {
    let (mut all, mut cursor) = (Vec::new(), Some(0));
    while let Some(at) = cursor {
        let (page, next) = store.scan_members(key, at).await.unwrap();
        all.extend(page);
        cursor = next;
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all.dedup();
    all
}

/// Which resources of a lane come first is the store's choice; how many of each lane, and in which order the lanes come, is
/// not. The rest is taken too, so that the stores go on alike.
async fn take<S: Store>(store: &S, lanes: &[Lane], now: Millis, hold: Duration, limit: usize) -> String {
    let mut taken = store.take_due(lanes, now, hold, limit).await.unwrap();
    let order: Vec<Lane> = taken.iter().map(|(lane, _)| *lane).collect();
    taken.extend(store.take_due(lanes, now, hold, ALL).await.unwrap());
    taken.sort();
    text((order, taken))
}

/// Everything that can be seen of a store. Empties its schedule.
pub async fn portrait<S: Store + Budget>(store: &S) -> Vec<String> {
    let mut seen = vec![text(store.backlog().await.unwrap()), text(store.learnt().await.unwrap())];
    let members: Vec<String> = MEMBERS.map(str::to_owned).to_vec();
    for key in keys() {
        let whole = [Load { key: key.clone(), members: members.clone() }];
        seen.push(text(store.load(&whole).await.unwrap()));
        seen.push(text((&key, "dirty", store.dirty_members(&key, ALL).await.unwrap())));
        seen.push(text((&key, "ledger", ledger(store, &key).await)));
        seen.push(text((&key, "dependents", store.dependents(&key).await.unwrap())));
        let claims = OWNERS.map(|owner| (key.clone(), owner.to_owned()));
        seen.push(text((&key, "leases", store.leases(&claims).await.unwrap())));
    }
    for kind in ResourceType::ALL {
        for id in IDS.map(|id| TargetId::new(id).unwrap()) {
            let nobody: ResourceKey = "User/nobody".parse().unwrap();
            seen.push(text((kind, &id, store.own(kind, &id, &nobody).await.unwrap())));
        }
    }
    for name in NOTES {
        seen.push(text((name, store.recall(name).await.unwrap())));
    }
    let end = START.plus(LONG * 100);
    while let Some(at) = store.next_due(&Lane::ALL).await.unwrap().filter(|at| *at < end) {
        seen.push(text((at, store.take_due(&Lane::ALL, at, LONG * 1_000, ALL).await.unwrap())));
    }
    seen
}
