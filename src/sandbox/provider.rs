//! The provider: resources, what it can do, and the writes on them.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::dice::Dice;
use super::directory::{Directory, Policy, Terms};
use super::error::{Refusal, ScimType};
use super::etag::Condition;
use super::faults::Faults;
use super::manners::Manners;
use super::members::{Id, Members};
use super::patch::{self, Operation};
use super::schema::Kind;
use super::view::View;

/// A write to one resource.
#[derive(Clone, Debug)]
pub enum Write {
    /// POST
    Create(Kind, Map<String, Value>),
    /// PUT
    Replace(Kind, Id, Map<String, Value>),
    /// PATCH
    Patch(Kind, Id, Vec<Operation>),
    /// DELETE
    Delete(Kind, Id),
}

impl Write {
    /// Reads a write as a request or a bulk operation has it: `target` is the resource, none for its collection.
    ///
    /// # Errors
    /// 405 for a method that the target has not; `invalidSyntax`, `invalidPath`.
    pub fn read(
        method: &str,
        kind: Kind,
        target: Option<&str>,
        data: Option<Value>,
    ) -> Result<Self, Refusal> {
        match (method, target) {
            ("POST", None) => Ok(Write::Create(kind, object(data)?)),
            ("PUT", Some(id)) => Ok(Write::Replace(kind, id.into(), object(data)?)),
            ("PATCH", Some(id)) => Ok(Write::Patch(kind, id.into(), patch::parse(data.unwrap_or_default())?)),
            ("DELETE", Some(id)) => Ok(Write::Delete(kind, id.into())),
            _ => Err(Refusal::new(405, format!("{method} is not allowed here"))),
        }
    }

    /// The resource type and, but for a create, the resource.
    pub fn target(&self) -> (Kind, Option<&Id>) {
        match self {
            Write::Create(kind, _) => (*kind, None),
            Write::Replace(kind, id, _) | Write::Patch(kind, id, _) | Write::Delete(kind, id) => {
                (*kind, Some(id))
            }
        }
    }

    fn new_user_name(&self) -> Option<&str> {
        match self {
            Write::Create(_, body) | Write::Replace(_, _, body) => {
                super::path::get(body, "userName")?.as_str()
            }
            Write::Patch(..) | Write::Delete(..) => None,
        }
    }
}

fn object(data: Option<Value>) -> Result<Map<String, Value>, Refusal> {
    match data {
        Some(Value::Object(map)) => Ok(map),
        _ => Err(Refusal::of(ScimType::InvalidSyntax, "a resource is an object")),
    }
}

/// What a write did.
#[derive(Clone, Debug)]
pub struct Written {
    /// The resource type.
    pub kind: Kind,
    /// The resource.
    pub id: Id,
    /// 201, 200 or 204.
    pub status: u16,
    /// The version this write made; none after a delete, or without ETags.
    pub version: Option<u64>,
}

/// The provider's state.
#[derive(Debug)]
pub struct Provider {
    /// The resources.
    pub directory: Directory,
    /// What is special about it.
    pub manners: Manners,
    /// What it can do and what goes wrong: no more than its manners allow.
    pub faults: Faults,
    /// Chance.
    pub dice: Dice,
    asked: Faults,
    foreign_changes: u64,
}

impl Provider {
    /// An empty one.
    pub fn new(manners: Manners, asked: Faults, dice: Dice) -> Self {
        let faults = manners.effective(&asked);
        Self { directory: Directory::default(), manners, faults, dice, asked, foreign_changes: 0 }
    }

    /// The faults as they were asked for.
    pub fn asked(&self) -> &Faults {
        &self.asked
    }

    /// What goes wrong from now on.
    pub fn set_faults(&mut self, asked: Faults) {
        self.faults = self.manners.effective(&asked);
        self.asked = asked;
    }

    /// What shows resources under the address `base`.
    pub fn view<'a>(&'a self, base: &'a str) -> View<'a> {
        let lists_members = self.manners.lists_members();
        View { lists_members, ..self.view_of_all(base) }
    }

    /// What shows resources as they are, whatever the provider shows.
    pub fn view_of_all<'a>(&'a self, base: &'a str) -> View<'a> {
        let (directory, manners, etags) = (&self.directory, &self.manners, self.faults.etag);
        View { directory, base, manners, etags, lists_members: true }
    }

    /// Puts a resource there that no client wrote, as the provider's own console would. Nothing is insisted on.
    ///
    /// # Errors
    /// `invalidValue`.
    pub fn place(&mut self, kind: Kind, body: Map<String, Value>, now: Timestamp) -> Result<(), Refusal> {
        let wanted = body.get("id").and_then(Value::as_str).map(Id::from);
        let id = wanted.filter(|id| self.directory.kind_of(id).is_none()).unwrap_or_else(|| self.dice.id());
        let terms = Terms { condition: None, policy: Policy::LENIENT, now };
        self.directory.create(kind, id, body, terms)
    }

    /// Carries out a write.
    ///
    /// # Errors
    /// What RFC 7644 s3.3 to s3.6 say, and what the faults do to single resources.
    pub fn write(
        &mut self,
        write: Write,
        condition: Option<&Condition>,
        now: Timestamp,
    ) -> Result<Written, Refusal> {
        if self.is_poisoned(&write) {
            return Err(self.poisoned());
        }
        let (kind, id) = write.target();
        let nobody = Members::new();
        let before = id.and_then(|id| self.directory.collection(kind).get(id));
        self.manners.admit(&write, before.map_or(&nobody, |it| &it.members))?;
        let condition = condition.filter(|_| self.faults.etag);
        let policy = Policy {
            unique_display_name: self.manners.refuses_namesakes(Kind::Group),
            etag_form: self.manners.etag_form(),
            ..self.faults.policy()
        };
        let terms = Terms { condition, policy, now };
        self.store(write, terms).map_err(|refusal| self.manners.told(refusal))
    }

    fn store(&mut self, write: Write, terms: Terms<'_>) -> Result<Written, Refusal> {
        let directory = &mut self.directory;
        let (kind, id, status) = match write {
            Write::Create(kind, mut body) => {
                let id = self.dice.id();
                self.manners.overrule(kind, &mut body, Some(&format!("own-{id}")));
                directory.create(kind, id.clone(), body, terms)?;
                (kind, id, 201)
            }
            Write::Replace(kind, id, mut body) => {
                let own = directory.collection(kind).get(&id).and_then(|it| it.text("externalId"));
                self.manners.overrule(kind, &mut body, own);
                directory.replace(kind, &id, body, terms)?;
                (kind, id, 200)
            }
            Write::Patch(..) if !self.faults.patch => {
                return Err(Refusal::new(501, "PATCH is not supported"));
            }
            Write::Patch(kind, id, operations) => {
                directory.patch(kind, &id, &operations, terms)?;
                (kind, id, 200)
            }
            Write::Delete(kind, id) if self.manners.deletes_softly(kind) => {
                directory.retire(kind, &id, terms)?;
                (kind, id, 204)
            }
            Write::Delete(kind, id) => {
                directory.delete(kind, &id, terms)?;
                (kind, id, 204)
            }
        };
        let version = self.directory.collection(kind).get(&id).map(|it| it.version);
        let version = version.filter(|_| self.faults.etag && status != 204);
        Ok(Written { kind, id, status, version })
    }

    /// Whether a write concerns a user that writes fail for.
    pub fn is_poisoned(&self, write: &Write) -> bool {
        if self.faults.poison.is_none() {
            return false;
        }
        let (kind, id) = write.target();
        let stored = id.and_then(|id| self.directory.collection(kind).get(id));
        let stored = stored.and_then(|resource| resource.text("userName"));
        stored.into_iter().chain(write.new_user_name()).any(|name| self.faults.poisons(name))
    }

    /// What a poisoned operation is answered with.
    pub fn poisoned(&self) -> Refusal {
        Refusal::new(self.faults.poison_status, "this user can not be written")
    }

    /// What somebody else does to the resource once the write is answered: its answer knows nothing of it.
    pub fn let_somebody_else_write(&mut self, written: &Written, now: Timestamp) {
        if written.status == 204 {
            return;
        }
        if self.dice.hits(self.faults.rate_foreign_change) {
            self.foreign_changes += 1;
            let mark = self.foreign_changes;
            self.directory.change_by_somebody_else(written.kind, &written.id, mark, now);
        }
        if self.dice.hits(self.faults.rate_foreign_recreate) {
            let id = self.dice.id();
            self.directory.recreate_by_somebody_else(written.kind, &written.id, id, now);
        }
    }

    /// The ServiceProviderConfig document (RFC 7643 s5), as the faults leave it.
    pub fn config(&self, base: &str) -> Value {
        let faults = &self.faults;
        let limit = |limit: usize| if faults.bulk { limit } else { 0 };
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
            "patch": {"supported": faults.patch},
            "bulk": {
                "supported": faults.bulk,
                "maxOperations": limit(faults.max_operations),
                "maxPayloadSize": limit(faults.max_payload_bytes),
            },
            "filter": {"supported": faults.filter, "maxResults": faults.page_size},
            "changePassword": {"supported": true},
            "sort": {"supported": true},
            "etag": {"supported": faults.etag},
            "authenticationSchemes": [{
                "type": "oauthbearertoken",
                "name": "OAuth Bearer Token",
                "description": "A static token, or one from /oauth/token",
                "specUri": "https://www.rfc-editor.org/info/rfc6750",
                "primary": true,
            }],
            "meta": {
                "resourceType": "ServiceProviderConfig",
                "location": format!("{base}/{}", self.manners.config_path()),
            },
        })
    }
}
