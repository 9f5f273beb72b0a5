//! Names of attributes and schemas. Nearly all are names that the RFCs define: a copy of those costs nothing, and a record
//! holds dozens of them.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

/// The enterprise user extension (RFC 7643 s4.3).
pub const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// Names that RFC 7643 defines, in its spelling: attribute names compare case-insensitively (s2.1).
const KNOWN: &[&str] = &[
    "userName",
    "name",
    "displayName",
    "nickName",
    "profileUrl",
    "title",
    "userType",
    "preferredLanguage",
    "locale",
    "timezone",
    "active",
    "password",
    "emails",
    "phoneNumbers",
    "ims",
    "photos",
    "addresses",
    "groups",
    "entitlements",
    "roles",
    "x509Certificates",
    "members",
    "externalId",
    "id",
    "meta",
    "schemas",
    "formatted",
    "familyName",
    "givenName",
    "middleName",
    "honorificPrefix",
    "honorificSuffix",
    "value",
    "display",
    "type",
    "primary",
    "streetAddress",
    "locality",
    "region",
    "postalCode",
    "country",
    "employeeNumber",
    "costCenter",
    "organization",
    "division",
    "department",
    "manager",
    "$ref",
];

/// A name in the RFC's spelling where the RFC has it, else as it is.
pub fn canonical_name(name: &str) -> &str {
    known(name).unwrap_or(name)
}

fn known(name: &str) -> Option<&'static str> {
    KNOWN.iter().find(|known| known.eq_ignore_ascii_case(name)).copied()
}

/// A name in the RFC's spelling where the RFC has it, else as it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Cow<'static, str>);

impl Name {
    /// The name of an attribute.
    pub fn new(name: &str) -> Self {
        Self(known(name).map_or_else(|| Cow::Owned(name.to_owned()), Cow::Borrowed))
    }

    /// The URN of a schema. URNs compare case-insensitively.
    pub fn schema(urn: &str) -> Self {
        match urn.eq_ignore_ascii_case(ENTERPRISE) {
            true => Self(Cow::Borrowed(ENTERPRISE)),
            false => Self(Cow::Owned(urn.to_owned())),
        }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        *self.0 == **other
    }
}
