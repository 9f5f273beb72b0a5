//! Profiles: what is special about a kind of target, as data. Shipped ones lie in `src/target/profiles`; a file of one's own
//! has the same form.

mod problems;
mod schema;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;

pub use self::schema::*;
use crate::core::dialect::{self, BulkKey, Dialect, MemberRemoval, MemberValue, TypeDialect, UpdateBy};
use crate::core::matching::Matcher;
use crate::core::resource::ResourceType;
use crate::pipeline::ports::{BulkLimits, Capabilities as Has};

/// The shipped profiles.
const SHIPPED: [(&str, &str); 11] = [
    ("generic", include_str!("../profiles/generic.toml")),
    ("nice-cxone", include_str!("../profiles/nice-cxone.toml")),
    ("genesys-cloud", include_str!("../profiles/genesys-cloud.toml")),
    ("aws-identity-center", include_str!("../profiles/aws-identity-center.toml")),
    ("keycloak", include_str!("../profiles/keycloak.toml")),
    ("scim2-server", include_str!("../profiles/scim2-server.toml")),
    ("slack", include_str!("../profiles/slack.toml")),
    ("github-emu", include_str!("../profiles/github-emu.toml")),
    ("webex", include_str!("../profiles/webex.toml")),
    ("salesforce", include_str!("../profiles/salesforce.toml")),
    ("zoom", include_str!("../profiles/zoom.toml")),
];

/// Why there is no such profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Neither a shipped name nor a path.
    #[error(
        "`{name}` is no shipped profile: these are {}; a file of your own is named with its path, such as \"./{name}.toml\"",
        shipped().collect::<Vec<_>>().join(", ")
    )]
    Unknown {
        /// What was named.
        name: String,
    },
    /// The file can't be read.
    #[error("the profile `{path}` can't be read: {error}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The file is wrong.
    #[error("the profile `{path}` has {} problem{}{}", problems.len(), if problems.len() == 1 { "" } else { "s" }, List(problems))]
    Bad {
        /// Which.
        path: String,
        /// All that is wrong with it.
        problems: Vec<Problem>,
    },
}

/// Something wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The line, counted from 1.
    pub line: usize,
    /// The key's path; empty where the file is no TOML.
    pub key: String,
    /// What is wrong.
    pub what: String,
}

struct List<'a>(&'a [Problem]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|Problem { line, key, what }| match key.is_empty() {
            true => write!(f, "\n    line {line}: {what}"),
            false => write!(f, "\n    line {line}, {key}: {what}"),
        })
    }
}

/// The names of the shipped profiles.
pub fn shipped() -> impl Iterator<Item = &'static str> {
    SHIPPED.into_iter().map(|(name, _)| name)
}

impl Profile {
    /// A shipped profile, or one from a file that `read` reads. What holds a slash or ends with `.toml` is a path.
    ///
    /// # Errors
    /// There is none of this name, or the file can't be read or is wrong.
    pub fn load(name: &str, read: &dyn Fn(&str) -> io::Result<String>) -> Result<Self, ProfileError> {
        let is_path = name.contains(['/', '\\']) || name.ends_with(".toml");
        let text = match SHIPPED.into_iter().find(|(shipped, _)| *shipped == name) {
            Some((_, text)) => text.to_owned(),
            None if is_path => {
                read(name).map_err(|error| ProfileError::Unreadable { path: name.to_owned(), error })?
            }
            None => return Err(ProfileError::Unknown { name: name.to_owned() }),
        };
        let bad = |problems| ProfileError::Bad { path: name.to_owned(), problems };
        let profile = problems::parse(&text).map_err(bad)?;
        Ok(Self { name: name.to_owned(), ..profile })
    }

    /// JSON Schema (2020-12) of the file.
    pub fn json_schema() -> serde_json::Value {
        schemars::schema_for!(Profile).to_value()
    }

    /// What planning has to know.
    pub fn dialect(&self) -> Dialect {
        let members = self.limits.members_per_request;
        Dialect {
            users: self.type_dialect(ResourceType::User, &self.users),
            groups: self.type_dialect(ResourceType::Group, &self.groups),
            removal: match self.members.removal {
                Removal::Filter => MemberRemoval::FilterPath,
                Removal::Values => MemberRemoval::ValueList,
            },
            member_value: match self.members.value {
                MemberForm::Id => MemberValue::Id,
                MemberForm::UserName => MemberValue::UserName,
            },
            members_listed: self.members.listed,
            replace_members: self.members.replace == Some(true),
            remove_all_members: self.members.remove_all == Some(true),
            members_per_request: members.map_or(dialect::MEMBERS_PER_REQUEST, std::num::NonZero::get),
            bulk_key: match self.bulk.correlation {
                CorrelationKey::BulkId => BulkKey::BulkId,
                CorrelationKey::Id => BulkKey::IdToo,
            },
        }
    }

    fn type_dialect(&self, kind: ResourceType, said: &Type) -> TypeDialect {
        let standard = TypeDialect::standard(kind);
        let matchers =
            |said: &Vec<Attribute>| said.iter().map(|attribute| Matcher::from(*attribute)).collect();
        TypeDialect {
            segment: said.path.as_ref().map_or(standard.segment, |path| path.trim_matches('/').to_owned()),
            create: said.create,
            delete: said.delete,
            update: match said.update {
                Update::Patch => UpdateBy::Patch,
                Update::Put => UpdateBy::Put,
            },
            refuses_existing: said.refuses_existing,
            matching: said.matching.as_ref().map_or(standard.matching, matchers),
            filterable: match self.capabilities.filter {
                Some(false) => Vec::new(),
                Some(true) | None => said.filterable.as_ref().map_or(standard.filterable, matchers),
            },
            hidden: said.hidden.clone(),
        }
    }

    /// What the target can do: as it says, but for what is known better, and within the limits.
    pub(super) fn overridden(&self, says: Has) -> Has {
        let has = &self.capabilities;
        let bulk = match has.bulk {
            Some(false) => None,
            Some(true) => Some(says.bulk.unwrap_or(BulkLimits { max_operations: 0, max_bytes: 0 })),
            None => says.bulk,
        };
        let limits = &self.limits;
        Has {
            bulk: bulk.map(|bulk| BulkLimits {
                max_operations: least(bulk.max_operations, limits.operations),
                max_bytes: least(bulk.max_bytes, limits.bytes),
            }),
            patch: has.patch.unwrap_or(says.patch),
            etag: has.etag.unwrap_or(says.etag),
            filter: match has.filter {
                Some(false) => None,
                Some(true) => Some(says.filter.unwrap_or(0)),
                None => says.filter,
            },
        }
    }

    /// True if the path of a base URL ends as it should.
    pub fn fits_base_path(&self, path: &str) -> bool {
        let Some(expected) = &self.base_path else { return true };
        let segments = |path: &str| path.trim_matches('/').split('/').map(str::to_owned).collect::<Vec<_>>();
        let (expected, path) = (segments(expected), segments(path));
        let any = |segment: &String| segment.starts_with('{') && segment.ends_with('}');
        expected.len() <= path.len()
            && expected.iter().rev().zip(path.iter().rev()).all(|(e, p)| any(e) || e == p)
    }
}

/// The smaller of two limits; 0: the target names none.
fn least(says: usize, limit: Option<std::num::NonZeroUsize>) -> usize {
    match (says, limit) {
        (0, None) => 0,
        (0, Some(limit)) => limit.get(),
        (says, None) => says,
        (says, Some(limit)) => says.min(limit.get()),
    }
}

impl From<Attribute> for Matcher {
    fn from(attribute: Attribute) -> Self {
        match attribute {
            Attribute::ExternalId => Matcher::ExternalId,
            Attribute::UserName => Matcher::UserName,
            Attribute::DisplayName => Matcher::DisplayName,
            Attribute::Email => Matcher::Email,
        }
    }
}
