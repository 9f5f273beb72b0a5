//! What happens in one world, by seed: which target, which story, which faults, and in the end peace.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use scim_relay::core::dialect::{Dialect, MemberRemoval, UpdateBy};
use scim_relay::core::gap::Deprovisioning;
use scim_relay::core::listing::Memberships;
use scim_relay::core::resource::{ResourceKey, ResourceType};
use scim_relay::pipeline::settings::{Mode, Settings};

use super::broker::Disorder;
use super::dice::Dice;
use super::events::user;
use super::faults::{Chances, Poison};
use super::model::{Life, expected};
use super::story::{Author, Size};
use super::target::Profile;
use super::world::{Weather, World, profile, settings};

/// Ways of writing that every target here understands.
fn any_dialect(dice: &Dice) -> Dialect {
    let mut dialect = Dialect::default();
    if dice.per_mille(300) {
        dialect.removal = MemberRemoval::ValueList;
    }
    if dice.per_mille(300) {
        dialect.members_per_request = 1 + dice.below(3);
    }
    for of_kind in [&mut dialect.users, &mut dialect.groups] {
        of_kind.update = *dice.pick(&[UpdateBy::Patch, UpdateBy::Patch, UpdateBy::Put]);
    }
    // users are unique there by each of their matchers, groups are not
    dialect.users.refuses_existing = dice.per_mille(300);
    dialect
}

/// One world's fortune.
#[derive(Debug)]
pub struct Scenario {
    seed: u64,
    dice: Dice,
    pub size: Size,
    pub profile: Profile,
    pub settings: Settings,
    pub weather: Weather,
    crashes: bool,
    outages: bool,
    strangers: bool,
    losses: Losses,
}

/// What the store loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Losses {
    Nothing,
    /// Everything.
    All,
    /// What was written in the last moments.
    Last,
}

impl Scenario {
    /// A small story on a good day, with one replica and a target that can do all.
    pub fn calm(seed: u64) -> Self {
        let dice = Dice::new(seed, "scenario");
        let size = Size::draw(&dice);
        let (profile, settings, weather) = (profile(), settings(), Weather::default());
        Self {
            seed,
            dice,
            size,
            profile,
            settings,
            weather,
            crashes: false,
            outages: false,
            strangers: false,
            losses: Losses::Nothing,
        }
    }

    /// Any target, and any configuration.
    pub fn with_any_target(mut self) -> Self {
        let dice = &self.dice;
        let some = |chance| dice.per_mille(chance);
        self.profile.habits.etag = some(500);
        self.profile.habits.patch = some(750);
        self.profile.habits.strict_members = some(500);
        self.profile.habits.cascade = some(500);
        self.profile.bulk = some(600).then(|| 1 + dice.below(20));
        self.profile.claims_patch = some(500);
        self.profile.ignores_filters = some(200);
        self.profile.poison = *dice.pick(&[Poison::Itself, Poison::RefusesBulk, Poison::BreaksServer]);
        let policies = [Deprovisioning::Deactivate, Deprovisioning::Delete, Deprovisioning::Keep];
        self.settings.user = *dice.pick(&policies);
        self.settings.group = *dice.pick(&policies);
        self.settings.mode = *dice.pick(&[Mode::Auto, Mode::Auto, Mode::Single]);
        self.settings.concurrency = 1 + dice.below(4);
        let dialect = any_dialect(dice);
        self.profile.habits.unique = dialect.users.refuses_existing;
        self.settings.dialect = Arc::new(dialect);
        let dice = Dice::new(self.seed, "memberships");
        self.settings.memberships = *dice.pick(&[Memberships::Keep, Memberships::Remove]);
        self
    }

    pub fn with_disorder(mut self) -> Self {
        let chance = |most| self.dice.between(0, most) as u32;
        self.weather.broker =
            Disorder { twice: chance(300), anywhere: chance(500), session: chance(60), confirm: chance(200) };
        self.weather.store = chance(20);
        self
    }

    pub fn with_bad_target(mut self) -> Self {
        self.weather.target = Chances::draw(&self.dice);
        self.outages = self.dice.per_mille(500);
        self
    }

    pub fn with_crashes(mut self) -> Self {
        self.crashes = true;
        self
    }

    /// Others write at the target too: unclaimed and foreign records, edits, removals.
    pub fn with_strangers(mut self) -> Self {
        self.strangers = true;
        self
    }

    /// The store loses something now and then.
    pub fn with_losses(mut self, losses: Losses) -> Self {
        self.losses = losses;
        self
    }

    /// Lives through the story, and waits until nothing waits any more.
    pub async fn live(self) -> World {
        let mut world = World::new(self.seed, self.profile, self.settings.clone(), self.weather);
        let dice = Dice::new(self.seed, "story");
        let mut author = Author { dice: &dice, size: self.size, seq: 0 };
        if self.strangers {
            self.settle_strangers(&mut world);
        }
        let replicas = if self.crashes { 2 } else { 1 };
        world.start(replicas);
        for _ in 0..self.size.events {
            world.publish(author.event());
            sleep(author.pause()).await;
            self.trouble(&mut world).await;
            self.lose(&world).await;
        }
        world.heal();
        self.mourn(&mut world, &mut author);
        world.rest().await;
        world
    }

    async fn trouble(&self, world: &mut World) {
        if self.crashes && self.dice.per_mille(120) {
            world.crash(self.dice.below(2)).await;
        }
        if self.outages && self.dice.per_mille(60) {
            world.parts.target.break_down(Duration::from_secs(self.dice.between(1, 120)));
        }
        // where only a PUT without a version changes anything, nobody can respect what others do meanwhile
        let by_patch = ResourceType::ALL.map(|kind| self.settings.dialect.of(kind).update == UpdateBy::Patch);
        let respected = self.profile.habits.etag || (self.profile.habits.patch && by_patch == [true, true]);
        if self.strangers && respected && self.dice.per_mille(150) {
            self.interfere(world);
        }
    }

    async fn lose(&self, world: &World) {
        let memory = &world.parts.store.memory;
        match self.losses {
            Losses::Nothing => {}
            _ if !self.dice.per_mille(80) => {}
            Losses::All => memory.wipe(),
            Losses::Last => {
                let copy = memory.copy();
                sleep(Duration::from_millis(self.dice.between(1, 1_500))).await;
                memory.fall_back(copy);
            }
        }
    }

    /// What the target has before the relay comes.
    fn settle_strangers(&self, world: &mut World) {
        for number in 0..self.size.users {
            let key = user(&format!("u-{number}"));
            let claimed = match self.dice.below(4) {
                0 => true,
                1 => false,
                _ => continue,
            };
            let name = format!("{}@x", key.external_id);
            let mut body = json!({
                "userName": name, "active": true, "nickName": "stranger", "name": { "familyName": "Stranger" },
            });
            if claimed {
                body["externalId"] = json!(key.external_id);
            }
            let Value::Object(body) = body else { continue };
            let id = world.parts.target.with(|directory| directory.insert(ResourceType::User, body.clone()));
            for (path, value) in [("nickName", "stranger"), ("name.familyName", "Stranger")] {
                world.foreign.attributes.insert((id.clone(), path), json!(value));
            }
            if claimed {
                world.base.insert(key, body);
            }
        }
        let Value::Object(guest) = json!({ "userName": "guest", "externalId": "guest" }) else { return };
        world.parts.target.with(|directory| directory.insert(ResourceType::User, guest));
    }

    /// Somebody else edits or removes something.
    fn interfere(&self, world: &mut World) {
        let kind = *self.dice.pick(&ResourceType::ALL);
        let ids: Vec<String> =
            world.parts.target.with(|directory| directory.all(kind).map(|(id, _)| id.clone()).collect());
        if ids.is_empty() {
            return;
        }
        let id = self.dice.pick(&ids).clone();
        let guest = world.parts.target.with(|directory| {
            directory.with_external_id(ResourceType::User, "guest").first().map(|(id, _)| (*id).clone())
        });
        let known = world.foreign.attributes.contains_key(&(id.clone(), "name.familyName"));
        let removable = Some(&id) != guest.as_ref() && !known;
        match (kind, guest) {
            _ if removable && self.dice.per_mille(250) => {
                world.parts.target.with(|directory| directory.remove(&id));
            }
            (ResourceType::Group, Some(guest)) => {
                world.parts.target.with(|directory| {
                    directory.edit(&id, |body| {
                        let members = body.entry("members").or_insert_with(|| json!([]));
                        let member = json!({ "value": guest });
                        if let Value::Array(members) = members
                            && !members.contains(&member)
                        {
                            members.push(member);
                        }
                    })
                });
                world.foreign.members.insert((id, guest));
            }
            _ => {
                let value = json!(format!("nick{}", self.dice.below(1000)));
                world.parts.target.with(|directory| {
                    directory.edit(&id, |body| {
                        body.insert("nickName".into(), value.clone());
                    })
                });
                world.foreign.attributes.insert((id, "nickName"), value);
            }
        }
    }

    /// What others removed comes back with the next change: the source changes everything once more.
    fn mourn(&self, world: &mut World, author: &mut Author<'_>) {
        if !self.strangers {
            return;
        }
        let expected = expected(&world.events, &world.base);
        let alive = expected.iter().filter(|(_, expected)| expected.life == Life::Alive);
        let keys: Vec<ResourceKey> = alive.map(|(key, _)| key.clone()).collect();
        for key in keys {
            world.publish(author.touch(key));
        }
    }
}
