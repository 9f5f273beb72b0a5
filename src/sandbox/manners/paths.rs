//! Where the endpoints are.

use super::Manners;
use crate::sandbox::schema::Kind;

/// The path below which the provider always is.
pub const BASE_PATH: &str = "/scim/v2";

/// A path that leads to the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Below<'a> {
    /// The base path as the client wrote it.
    pub base: &'a str,
    /// What comes behind it.
    pub rest: &'a str,
}

impl Manners {
    /// The base path, a name in braces standing for itself: `/realms/realm/scim/v2`.
    pub fn base_path(&self) -> String {
        let said = self.profile.base_path.as_deref().unwrap_or(BASE_PATH);
        said.trim_end_matches('/').replace(['{', '}'], "")
    }

    /// Splits the path of a request: below the profile's base path, where `{name}` is any one segment, or below `/scim/v2`.
    pub fn below<'a>(&self, path: &'a str) -> Option<Below<'a>> {
        let said = self.profile.base_path.as_deref().map(|said| said.trim_end_matches('/'));
        said.into_iter().chain([BASE_PATH]).find_map(|base| split(path, base))
    }

    /// The path of a type's resources, without slashes around it.
    pub fn segment(&self, kind: Kind) -> &str {
        self.of_type(kind).path.as_deref().map_or(kind.endpoint(), |path| path.trim_matches('/'))
    }

    /// The type that a path without its first slash leads to, and what comes behind.
    pub fn kind_of<'a>(&self, path: &'a str) -> Option<(Kind, &'a str)> {
        Kind::ALL.into_iter().find_map(|kind| Some((kind, behind(path, self.segment(kind))?)))
    }

    /// Whether bulk requests go to this path.
    pub fn is_bulk(&self, path: &str) -> bool {
        self.profile.capabilities.bulk != Some(false) && same(path, &self.profile.bulk.path)
    }

    /// The path of the ServiceProviderConfig, without slashes around it.
    pub fn config_path(&self) -> &str {
        self.profile.discovery.path.trim_matches('/')
    }

    /// Whether the ServiceProviderConfig is at this path.
    pub fn is_config(&self, path: &str) -> bool {
        self.profile.discovery.ask && same(path, &self.profile.discovery.path)
    }
}

fn same(path: &str, said: &str) -> bool {
    path.trim_matches('/') == said.trim_matches('/')
}

/// What comes behind `segment`, if `path` begins with it as a whole.
fn behind<'a>(path: &'a str, segment: &str) -> Option<&'a str> {
    path.strip_prefix(segment).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn split<'a>(path: &'a str, base: &str) -> Option<Below<'a>> {
    let mut rest = path;
    for segment in base.split('/').skip(1) {
        let after = rest.strip_prefix('/')?;
        let end = after.find('/').unwrap_or(after.len());
        let any = segment.starts_with('{') && segment.ends_with('}') && end > 0;
        if !any && &after[..end] != segment {
            return None;
        }
        rest = &after[end..];
    }
    Some(Below { base: &path[..path.len() - rest.len()], rest })
}
