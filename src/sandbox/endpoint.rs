//! The endpoints of RFC 7644 s3.2 below the base address.

use super::error::Refusal;
use super::fate::Nature;
use super::manners::Manners;
use super::schema::Kind;

/// What a path addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/`: all resources.
    Root,
    /// `/.search`, or below a resource type.
    Search(Option<Kind>),
    /// `/Users`
    Resources(Kind),
    /// `/Users/{id}`
    Resource(Kind, String),
    /// `/Bulk`
    Bulk,
    /// `/Me`, which is not supported.
    Me,
    /// `/ServiceProviderConfig`
    Config,
    /// `/Schemas`, or one of them.
    Schemas(Option<String>),
    /// `/ResourceTypes`, or one of them.
    ResourceTypes(Option<String>),
}

impl Endpoint {
    /// Reads the path behind the base address.
    ///
    /// # Errors
    /// 404.
    pub fn parse(path: &str, manners: &Manners) -> Result<Self, Refusal> {
        let segments: Vec<String> =
            path.split('/').filter(|segment| !segment.is_empty()).map(decoded).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            [] => Ok(Endpoint::Root),
            [".search"] => Ok(Endpoint::Search(None)),
            ["Me", ..] => Ok(Endpoint::Me),
            ["Schemas"] => Ok(Endpoint::Schemas(None)),
            ["Schemas", urn] => Ok(Endpoint::Schemas(Some((*urn).to_owned()))),
            ["ResourceTypes"] => Ok(Endpoint::ResourceTypes(None)),
            ["ResourceTypes", name] => Ok(Endpoint::ResourceTypes(Some((*name).to_owned()))),
            _ if manners.is_bulk(path) => Ok(Endpoint::Bulk),
            _ if manners.is_config(path) => Ok(Endpoint::Config),
            _ => Self::of_resources(path, manners),
        }
    }

    fn of_resources(path: &str, manners: &Manners) -> Result<Self, Refusal> {
        let missing = || Refusal::not_found(path);
        let (kind, rest) = manners.kind_of(path.trim_start_matches('/')).ok_or_else(missing)?;
        let rest: Vec<String> = rest.split('/').filter(|segment| !segment.is_empty()).map(decoded).collect();
        match rest.as_slice() {
            [] => Ok(Endpoint::Resources(kind)),
            [only] if only == ".search" => Ok(Endpoint::Search(Some(kind))),
            [id] => Ok(Endpoint::Resource(kind, id.clone())),
            _ => Err(missing()),
        }
    }

    /// What kind of request a method makes of it.
    pub fn nature(&self, method: &str) -> Nature {
        match (self, method) {
            (Endpoint::Bulk, _) => Nature::Bulk,
            (_, "GET") | (Endpoint::Search(_), _) => Nature::Read,
            _ => Nature::Write,
        }
    }
}

/// A path segment without percent-encoding; what is wrongly encoded stays as it is.
fn decoded(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|it| std::str::from_utf8(it).ok());
        match (bytes[at], hex.and_then(|it| u8::from_str_radix(it, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| segment.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_endpoints() {
        for (path, endpoint) in [
            ("", Endpoint::Root),
            ("/Users/", Endpoint::Resources(Kind::User)),
            ("/Groups/a%2Fb%20c%", Endpoint::Resource(Kind::Group, "a/b c%".into())),
            ("/Users/.search", Endpoint::Search(Some(Kind::User))),
            ("/Schemas/urn%3Ax", Endpoint::Schemas(Some("urn:x".into()))),
        ] {
            assert_eq!(Endpoint::parse(path, &Manners::default()), Ok(endpoint), "{path}");
        }
        for path in ["/users", "/Users/a/b", "/Bulk/x", "/nothing"] {
            assert_eq!(Endpoint::parse(path, &Manners::default()).unwrap_err().status, 404, "{path}");
        }
    }
}
