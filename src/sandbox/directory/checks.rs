//! What the provider insists on, whatever the write.

use serde_json::{Map, Value};

use super::{Directory, Policy};
use crate::sandbox::error::{Refusal, ScimType};
use crate::sandbox::members::Edits;
use crate::sandbox::schema::Kind;

impl Directory {
    /// Whether a body carries a name that nobody else has.
    ///
    /// # Errors
    /// 409 `uniqueness`.
    pub(super) fn check_unique(
        &self,
        kind: Kind,
        body: &Map<String, Value>,
        own: Option<&str>,
        policy: Policy,
    ) -> Result<(), Refusal> {
        let (attribute, is_unique) = match kind {
            Kind::User => ("userName", policy.unique_user_name),
            Kind::Group => ("displayName", policy.unique_display_name),
        };
        let Some(name) = body.get(attribute).and_then(Value::as_str).filter(|_| is_unique) else {
            return Ok(());
        };
        let is_taken = match kind {
            Kind::User => {
                let own = own.and_then(|id| self.users.place_of(id));
                self.users.with_user_name(name).into_iter().any(|place| Some(place) != own)
            }
            Kind::Group => {
                let mut others = self.groups.iter().filter(|group| Some(&*group.id) != own);
                others.any(|group| {
                    group.text(attribute).is_some_and(|it| it.to_lowercase() == name.to_lowercase())
                })
            }
        };
        match is_taken {
            true => Err(Refusal::of(ScimType::Uniqueness, format!("{attribute} is taken"))),
            false => Ok(()),
        }
    }

    /// Whether all members that come exist.
    ///
    /// # Errors
    /// `invalidValue`.
    pub(super) fn check_members(&self, edits: &Edits, policy: Policy) -> Result<(), Refusal> {
        if !policy.refuse_unknown_members {
            return Ok(());
        }
        let coming = edits.changes.iter().filter(|(_, change)| change.is_some());
        match coming.map(|(id, _)| id).find(|id| self.kind_of(id).is_none()) {
            Some(id) => Err(Refusal::of(ScimType::InvalidValue, format!("member {id} does not exist"))),
            None => Ok(()),
        }
    }
}
