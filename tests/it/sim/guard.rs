//! The guard against mass deprovisioning, and what operators decide about what it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use scim_relay::core::gap::Deprovisioning;
use scim_relay::core::guard::Limits;
use scim_relay::core::operation::Method;
use scim_relay::core::resource::{ResourceKey, ResourceType};
use scim_relay::pipeline::held::{Decision, HeldLetter};
use scim_relay::pipeline::letters::Letters;
use scim_relay::pipeline::ports::{Header, Message};
use scim_relay::pipeline::settings::Settings;

use super::broker::{Disorder, SimPublisher};
use super::events::{Event, Part, Said, user};
use super::faults::Chances;
use super::replica::next_id;
use super::world::{Weather, World, profile, run, settings};

const SMALL: Limits = Limits { max_per_hour: 3, max_per_day: 5, max_percent: 100, min_resources: 0 };

/// A company, its world, and an operator.
struct Company {
    world: World,
    seq: u64,
}

impl Company {
    /// So many people who are at the target.
    async fn of(people: usize, settings: Settings, weather: Weather) -> Self {
        let mut company = Self { world: World::new(1, profile(), settings, weather), seq: 0 };
        company.world.start(2);
        for n in 0..people {
            company.say(person(n), put(&format!("p{n}")));
        }
        company.world.rest().await;
        company
    }

    async fn guarded_by(limits: Limits, people: usize) -> Self {
        Self::of(people, Settings { guard: Some(limits), ..settings() }, Weather::default()).await
    }

    fn say(&mut self, key: ResourceKey, said: Said) {
        self.seq += 1;
        self.world.publish(Event { seq: self.seq, key, said });
    }

    /// A deactivation, or a delete that becomes one.
    fn leaves(&mut self, n: usize) {
        self.say(person(n), if n.is_multiple_of(2) { Said::Deactivate } else { Said::Delete });
    }

    /// Waits longer than any change takes on a good day, and less than anything that waits.
    async fn moment(&self) {
        sleep(Duration::from_secs(5)).await;
    }

    fn at_target(&self, n: usize, attribute: &str) -> Option<Value> {
        self.world.parts.target.with(|directory| {
            let found = directory.with_external_id(ResourceType::User, &format!("p{n}"));
            found.first().and_then(|(_, stored)| stored.body.get(attribute).cloned())
        })
    }

    fn is_active(&self, n: usize) -> bool {
        self.at_target(n, "active") == Some(json!(true))
    }

    fn inactive(&self) -> usize {
        self.world.parts.target.with(|directory| {
            let people = directory.all(ResourceType::User);
            people.filter(|(_, stored)| stored.body.get("active") == Some(&json!(false))).count()
        })
    }

    /// How many members a group has; none: it is not there.
    fn members(&self, key: &ResourceKey) -> Option<usize> {
        self.world.parts.target.with(|directory| {
            let found = directory.with_external_id(key.kind, key.external_id.as_str());
            found.first().map(|(_, stored)| stored.members().len())
        })
    }

    /// Held letters by resource; each has one.
    fn held(&self) -> BTreeMap<ResourceKey, Message> {
        let letters = self.world.parts.broker.held().into_iter().map(|letter| (resource(&letter), letter));
        letters.collect()
    }

    async fn decide(&self, letter: &Message, decision: Decision) {
        let parts = &self.world.parts;
        let letters: Letters<SimPublisher> = Letters::new(
            parts.broker.publisher().into(),
            parts.clock.clone(),
            parts.settings.routes.clone(),
            "simulation".into(),
            next_id,
        );
        let letter = HeldLetter::read(letter, parts.clock.now()).unwrap();
        letters.decide(&letter, decision).await.unwrap();
    }

    /// How often each resource was deprovisioned at the target.
    fn deprovisioned(&self) -> BTreeMap<ResourceKey, usize> {
        let mut counts = BTreeMap::new();
        for processed in self.world.parts.target.processed() {
            let inactive = processed.body.is_some_and(|body| body.to_string().contains(r#""path":"active""#));
            let done = (200..300).contains(&processed.status);
            if done && (inactive || processed.method == Method::Delete) {
                *counts.entry(processed.key).or_default() += 1;
            }
        }
        counts
    }
}

fn person(n: usize) -> ResourceKey {
    user(&format!("p{n}"))
}

fn put(name: &str) -> Said {
    Said::Put { attributes: vec![("userName", json!(name))], active: None, members: None }
}

fn title(title: &str) -> Said {
    Said::Patch(vec![Part::Set("title", title.to_owned())])
}

fn resource(letter: &Message) -> ResourceKey {
    match letter.headers.get("x-relay-resource") {
        Some(Header::Text(resource)) => resource.parse().unwrap(),
        other => panic!("no resource: {other:?}"),
    }
}

#[test]
fn two_thousand_deactivations_in_five_minutes_wait_for_an_operator() {
    run(async {
        let mut company = Company::guarded_by(Limits::default(), 10_000).await;
        for n in 0..2_000 {
            company.leaves(n);
            sleep(Duration::from_millis(150)).await;
            if [399, 598, 1_001, 1_400, 1_999].contains(&n) {
                // neither those who are held nor anybody else waits
                company.say(person(n), title(&format!("title-{n}")));
                company.say(person(5_000 + n), title(&format!("title-{n}")));
                company.moment().await;
                assert_eq!(company.at_target(n, "title"), Some(json!(format!("title-{n}"))));
                assert_eq!(company.at_target(5_000 + n, "title"), Some(json!(format!("title-{n}"))));
            }
        }
        company.world.rest().await;
        let held = company.held();
        assert_eq!((company.inactive(), held.len()), (200, 1_800));
        assert_eq!(company.world.parts.broker.held().len(), 1_800, "one letter each");

        let (mut approved, mut rejected) = (BTreeSet::new(), BTreeSet::new());
        for (at, (key, letter)) in held.iter().enumerate() {
            match at {
                0..700 => {
                    company.decide(letter, Decision::Approve).await;
                    approved.insert(key.clone());
                }
                700..1_200 => {
                    company.decide(letter, Decision::Reject).await;
                    rejected.insert(key.clone());
                }
                _ => {}
            }
        }
        company.world.rest().await;
        assert_eq!(company.inactive(), 900);
        // tools that were killed decide again: nothing changes
        for (key, letter) in &held {
            match () {
                () if approved.contains(key) => company.decide(letter, Decision::Approve).await,
                () if rejected.contains(key) => company.decide(letter, Decision::Reject).await,
                () => {}
            }
        }
        company.world.rest().await;
        let deprovisioned = company.deprovisioned();
        assert_eq!((company.inactive(), deprovisioned.len()), (900, 900));
        assert!(deprovisioned.values().all(|times| *times == 1), "an approved one is applied once");
        assert!(rejected.iter().all(|key| !deprovisioned.contains_key(key)), "a rejected one never");
        assert!(company.world.parts.broker.dead().is_empty());
        company.world.stop().await;
    });
}

#[test]
fn what_was_held_is_told_again_and_changes_nothing() {
    run(async {
        let mut company = Company::guarded_by(SMALL, 10).await;
        (0..10).for_each(|n| company.leaves(n));
        company.world.rest().await;
        assert_eq!((company.inactive(), company.held().len()), (3, 7));
        let said = company.world.events.clone();
        said.into_iter().for_each(|event| company.world.publish(event));
        company.world.rest().await;
        assert_eq!((company.inactive(), company.world.parts.broker.held().len()), (3, 7));
        company.world.stop().await;
    });
}

#[test]
fn the_windows_slide_and_what_is_held_stays_held() {
    run(async {
        let mut company = Company::guarded_by(SMALL, 12).await;
        (0..6).for_each(|n| company.leaves(n));
        company.world.rest().await;
        sleep(Duration::from_secs(3_601)).await;
        (6..12).for_each(|n| company.leaves(n));
        company.world.rest().await;
        assert_eq!((company.inactive(), company.held().len()), (5, 7), "three in the hour, five in the day");
        company.world.stop().await;
    });
}

#[test]
fn a_create_that_is_inactive_is_no_deprovisioning() {
    run(async {
        let mut company = Company::guarded_by(SMALL, 0).await;
        for n in 0..10 {
            let attributes = vec![("userName", json!(format!("p{n}")))];
            company.say(person(n), Said::Put { attributes, active: Some(false), members: None });
        }
        company.world.rest().await;
        assert_eq!((company.inactive(), company.held().len()), (10, 0));
        company.world.stop().await;
    });
}

#[test]
fn whoever_comes_back_is_not_deprovisioned_by_a_late_approval() {
    run(async {
        let mut company = Company::guarded_by(Limits { max_per_hour: 0, ..SMALL }, 2).await;
        (0..2).for_each(|n| company.leaves(n));
        company.world.rest().await;
        company.say(person(0), Said::Activate);
        company.say(person(1), put("p1"));
        company.world.rest().await;
        for letter in company.held().values() {
            company.decide(letter, Decision::Approve).await;
        }
        company.world.rest().await;
        assert!(company.is_active(0) && company.is_active(1));
        company.world.assert_converged();
        company.world.stop().await;
    });
}

#[test]
fn after_a_rejection_only_a_newer_word_deprovisions() {
    run(async {
        let mut company = Company::guarded_by(Limits { max_per_hour: 0, ..SMALL }, 2).await;
        (0..2).for_each(|n| company.leaves(n));
        company.world.rest().await;
        for letter in company.held().values() {
            company.decide(letter, Decision::Reject).await;
        }
        company.world.rest().await;
        assert_eq!(company.inactive(), 0);
        (0..2).for_each(|n| company.leaves(n));
        company.world.rest().await;
        assert_eq!(company.world.parts.broker.held().len(), 4, "a newer word is asked about anew");
        for letter in company.world.parts.broker.held().iter().skip(2) {
            company.decide(letter, Decision::Approve).await;
        }
        company.world.rest().await;
        assert_eq!(company.inactive(), 2);
        company.world.stop().await;
    });
}

#[test]
fn deletes_of_users_and_groups_are_counted_apart() {
    run(async {
        let guarded = Settings { guard: Some(SMALL), user: Deprovisioning::Delete, ..settings() };
        let mut company = Company::of(6, guarded, Weather::default()).await;
        let groups: Vec<ResourceKey> = (0..6).map(|n| super::events::group(&format!("g{n}"))).collect();
        for key in &groups {
            let attributes = vec![("displayName", json!(key.external_id))];
            company.say(key.clone(), Said::Put { attributes, active: None, members: None });
        }
        company.world.rest().await;
        (0..6).for_each(|n| company.say(person(n), Said::Delete));
        groups.iter().for_each(|key| company.say(key.clone(), Said::Delete));
        company.world.rest().await;
        let held = company.held();
        let of_kind = |kind| held.keys().filter(|key| key.kind == kind).count();
        assert_eq!((of_kind(ResourceType::User), of_kind(ResourceType::Group)), (3, 3));
        for letter in held.values() {
            company.decide(letter, Decision::Approve).await;
        }
        company.world.rest().await;
        company.world.assert_converged();
        company.world.stop().await;
    });
}

/// A group of three, deleted, and the delete held.
async fn a_held_group() -> (Company, ResourceKey) {
    let mut company = Company::guarded_by(Limits { max_per_hour: 0, ..SMALL }, 3).await;
    let key = super::events::group("g");
    let members = Some((0..3).map(|n| format!("p{n}")).collect());
    let attributes = vec![("displayName", json!("group"))];
    company.say(key.clone(), Said::Put { attributes, active: None, members });
    company.world.rest().await;
    company.say(key.clone(), Said::Delete);
    company.world.rest().await;
    assert_eq!((company.held().len(), company.members(&key)), (1, Some(3)), "nobody is taken out meanwhile");
    (company, key)
}

#[test]
fn a_group_whose_delete_is_held_keeps_its_members_until_it_is_approved() {
    run(async {
        let (company, key) = a_held_group().await;
        let mut company = company;
        company.say(key.clone(), Said::Patch(vec![Part::DropMembers(vec!["p0".into()])]));
        company.world.rest().await;
        assert_eq!(company.members(&key), Some(2), "newer words about members flow on");
        company.decide(&company.held()[&key], Decision::Approve).await;
        company.world.rest().await;
        assert_eq!(company.members(&key), None);
        company.world.stop().await;
    });
}

#[test]
fn a_group_whose_delete_is_rejected_keeps_its_members_and_one_that_comes_back_starts_afresh() {
    run(async {
        let (company, key) = a_held_group().await;
        let mut company = company;
        company.decide(&company.held()[&key], Decision::Reject).await;
        company.world.rest().await;
        assert_eq!(company.members(&key), Some(3));
        let attributes = vec![("displayName", json!("group"))];
        company.say(key.clone(), Said::Put { attributes, active: None, members: Some(vec!["p1".into()]) });
        company.world.rest().await;
        assert_eq!(company.members(&key), Some(1));
        company.world.assert_converged();
        company.world.stop().await;
    });
}

#[test]
fn the_windows_are_never_overrun_whatever_breaks() {
    for seed in 0..20 {
        run(async {
            let broker = Disorder { twice: 200, anywhere: 300, session: 40, confirm: 150 };
            let target = Chances::draw(&super::dice::Dice::new(seed, "guard"));
            let limits = Limits { max_percent: 10, min_resources: 20, max_per_hour: 5, max_per_day: 100 };
            let guarded = Settings { guard: Some(limits), ..settings() };
            let mut company =
                Company::of(30, guarded, Weather { broker, store: 15, ..Weather::default() }).await;
            company.world.parts.target.suffer(target);
            for n in 0..20 {
                company.leaves(n);
                if n % 5 == 4 {
                    company.world.crash(n % 2).await;
                }
            }
            company.world.heal();
            company.world.rest().await;
            // whoever fails too often at a bad target has a letter of another kind, and keeps the place
            let dead: BTreeSet<ResourceKey> =
                company.world.parts.broker.dead().iter().map(resource).collect();
            assert_eq!(company.inactive() + dead.len(), 3, "seed {seed}: a tenth of thirty");
            assert_eq!(company.held().len(), 17, "seed {seed}");
            let letters = company.world.parts.broker.held();
            for letter in &letters {
                company.decide(letter, Decision::Approve).await;
            }
            company.world.rest().await;
            company.world.assert_converged();
            company.world.stop().await;
        });
    }
}
