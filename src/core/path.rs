//! Attribute paths as registers know them: attribute, sub-attribute, element of a multi-valued attribute (RFC 7644 s3.5.2).

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

pub use super::name::{ENTERPRISE, Name, canonical_name};

/// The core schemas (RFC 7643 s4.1, s4.2).
const CORE: [&str; 2] =
    ["urn:ietf:params:scim:schemas:core:2.0:User", "urn:ietf:params:scim:schemas:core:2.0:Group"];

/// Core attributes that hold lists (RFC 7643 s4.1.2); `members` is a ledger of its own.
const MULTI_VALUED: &[&str] = &[
    "emails",
    "phoneNumbers",
    "ims",
    "photos",
    "addresses",
    "groups",
    "entitlements",
    "roles",
    "x509Certificates",
];

/// `[type eq "work"]`: one element of a multi-valued attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    /// The sub-attribute compared: `type` or `value`.
    pub attribute: Name,
    /// With which value.
    pub value: String,
}

/// An attribute path. Its text form is the key of registers and fingerprints.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// The URN of an extension schema; none for the core schema.
    pub schema: Option<Name>,
    /// The attribute.
    pub attribute: Name,
    /// An element of it.
    pub selector: Option<Selector>,
    /// A sub-attribute of it or of the element.
    pub sub: Option<Name>,
}

/// Why a text is not a path that the relay can merge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing there, or a part is empty or holds a character that no attribute name has.
    #[error("`{0}` is not an attribute path")]
    Malformed(String),
    /// A filter other than `[type eq "…"]` or `[value eq "…"]`.
    #[error("`{0}`: only [type eq \"…\"] and [value eq \"…\"] select elements here")]
    Selector(String),
}

impl Path {
    /// A whole core attribute.
    pub fn core(attribute: &str) -> Self {
        Self { schema: None, attribute: Name::new(attribute), selector: None, sub: None }
    }

    /// A whole attribute of an extension.
    pub fn extension(schema: &str, attribute: &str) -> Self {
        Self { schema: Some(Name::schema(schema)), ..Self::core(attribute) }
    }

    /// A sub-attribute of this path.
    pub fn with_sub(&self, sub: &str) -> Self {
        Self { sub: Some(Name::new(sub)), ..self.clone() }
    }

    /// An element of this multi-valued attribute.
    pub fn with_selector(&self, attribute: &str, value: &str) -> Self {
        let selector = Selector { attribute: Name::new(attribute), value: value.to_owned() };
        Self { selector: Some(selector), ..self.clone() }
    }

    /// The whole attribute that this path lies in.
    pub fn root(&self) -> Self {
        Self { selector: None, sub: None, ..self.clone() }
    }

    /// True for a whole attribute.
    pub fn is_root(&self) -> bool {
        self.selector.is_none() && self.sub.is_none()
    }

    /// True for a core attribute that holds a list.
    pub fn is_multi_valued(&self) -> bool {
        self.schema.is_none() && MULTI_VALUED.contains(&self.attribute.as_str())
    }

    /// True if a write to `self` hides older writes to `other`: `other` is the same or a part of it.
    pub fn covers(&self, other: &Path) -> bool {
        self.schema == other.schema
            && self.attribute == other.attribute
            && (self.selector.is_none() || self.selector == other.selector)
            && (self.sub.is_none() || self.sub == other.sub)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}:")?;
        }
        f.write_str(&self.attribute)?;
        if let Some(Selector { attribute, value }) = &self.selector {
            let value = serde_json::Value::String(value.clone());
            write!(f, "[{attribute} eq {value}]")?;
        }
        match &self.sub {
            Some(sub) => write!(f, ".{sub}"),
            None => Ok(()),
        }
    }
}

/// Splits `urn:…:User:rest` into the URN and the rest. A URN's version ("2.0") holds a dot, so the last `:` counts.
fn split_schema(text: &str) -> (Option<&str>, &str) {
    let filter = text.find('[').unwrap_or(text.len());
    if !text.get(..4).is_some_and(|t| t.eq_ignore_ascii_case("urn:")) {
        return (None, text);
    }
    match text[..filter].rfind(':') {
        Some(at) => (Some(&text[..at]), &text[at + 1..]),
        None => (None, text),
    }
}

/// True for a text that can be an attribute's name (RFC 7643 s2.1, generously). Only such names survive in a path's text.
pub fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$');
    !text.is_empty() && text.chars().all(good)
}

/// True for a text that can be a schema's URN in front of an attribute.
pub fn is_urn(text: &str) -> bool {
    let good = |c: char| c.is_ascii_graphic() && !matches!(c, '[' | ']' | '"');
    text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("urn:")) && text.chars().all(good)
}

fn name(text: &str, whole: &str) -> Result<Name, PathError> {
    match is_name(text) {
        true => Ok(Name::new(text)),
        false => Err(PathError::Malformed(whole.to_owned())),
    }
}

/// Parses the inside of the brackets: `type eq "work"`.
fn selector(inside: &str, whole: &str) -> Result<Selector, PathError> {
    let bad = || PathError::Selector(whole.to_owned());
    let mut words = inside.trim().splitn(3, ' ');
    let (attribute, operator, value) = (words.next(), words.next(), words.next());
    let attribute = Name::new(attribute.ok_or_else(bad)?);
    if !operator.ok_or_else(bad)?.eq_ignore_ascii_case("eq")
        || !matches!(attribute.as_str(), "type" | "value")
    {
        return Err(bad());
    }
    let value: String = serde_json::from_str(value.ok_or_else(bad)?.trim()).map_err(|_| bad())?;
    Ok(Selector { attribute, value })
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let whole = text.trim();
        let (schema, rest) = split_schema(whole);
        if schema.is_some_and(|schema| !is_urn(schema)) {
            return Err(PathError::Malformed(whole.to_owned()));
        }
        let (attribute, filter, sub) = match rest.find('[') {
            None => match rest.split_once('.') {
                Some((attribute, sub)) => (attribute, None, Some(sub)),
                None => (rest, None, None),
            },
            Some(open) => {
                let close = rest.rfind(']').filter(|c| *c > open);
                let close = close.ok_or_else(|| PathError::Malformed(whole.to_owned()))?;
                let tail = match &rest[close + 1..] {
                    "" => None,
                    tail => {
                        Some(tail.strip_prefix('.').ok_or_else(|| PathError::Malformed(whole.to_owned()))?)
                    }
                };
                (&rest[..open], Some(&rest[open + 1..close]), tail)
            }
        };
        Ok(Path {
            schema: schema.filter(|s| !is_core_schema(s)).map(Name::schema),
            attribute: name(attribute, whole)?,
            selector: filter.map(|inside| selector(inside, whole)).transpose()?,
            sub: sub.map(|sub| name(sub, whole)).transpose()?,
        })
    }
}

/// True for the core schema of users or groups: its attributes carry no URN.
pub fn is_core_schema(urn: &str) -> bool {
    CORE.iter().any(|core| urn.eq_ignore_ascii_case(core))
}

// As its text, written and read in place: a record holds dozens of paths.
impl Serialize for Path {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.schema.is_none() && self.is_root() {
            true => serializer.serialize_str(&self.attribute),
            false => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Path;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an attribute path")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Path, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_survives_its_text() {
        for text in [
            "userName",
            "name.givenName",
            "emails[type eq \"work\"].value",
            "emails[value eq \"a \\\"b\\\"]\"]",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value",
            "urn:x:y:2.0:User:things[type eq \"a\"]",
        ] {
            assert_eq!(text.parse::<Path>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn names_take_the_spelling_of_the_rfc() {
        assert_eq!("USERNAME".parse::<Path>().unwrap(), Path::core("userName"));
        let core = "urn:ietf:params:scim:schemas:core:2.0:User:Name.GivenName";
        assert_eq!(core.parse::<Path>().unwrap().to_string(), "name.givenName");
    }

    #[test]
    fn what_cannot_be_merged_is_refused_by_name() {
        for text in [
            "",
            "a b",
            "emails[",
            "emails[primary eq true]",
            "emails[type ne \"x\"]",
            "name..x",
            "a[type eq \"w\"]x",
            "name.given name",
            "urn:x y:2.0:User:a",
        ] {
            assert!(text.parse::<Path>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_whole_attribute_covers_its_parts() {
        let emails = Path::core("emails");
        let work = emails.with_selector("type", "work");
        assert!(emails.covers(&work.with_sub("value")) && work.covers(&work.with_sub("value")));
        assert!(!work.covers(&emails) && !work.covers(&emails.with_selector("type", "home")));
        assert!(!emails.covers(&Path::core("email")));
    }
}
