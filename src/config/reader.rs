//! Values by path, read from defaults, the file and the environment, with all that is wrong so far.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use toml::Value;
use url::Url;

use super::keys::{KEYS, find, is_section, similar};
use super::value::{Parsed, Sources, parse, parse_text};
use super::{OVERRIDE, Problem, TlsFiles};
use crate::core::budget::Rate;
use crate::core::guard::Limits;
use crate::target::Profile;

/// Values by path, and what is wrong so far.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) values: BTreeMap<&'static str, Parsed>,
    pub(super) problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn problem(&mut self, key: &str, what: impl Into<String>) {
        self.problems.push(Problem { key: key.to_owned(), what: what.into() });
    }

    pub(super) fn take(&mut self, path: &'static str, parsed: Result<Parsed, String>) {
        match parsed {
            Ok(parsed) => drop(self.values.insert(path, parsed)),
            Err(what) => self.problem(path, what),
        }
    }

    pub(super) fn read_defaults(&mut self, sources: &Sources<'_>) {
        for key in KEYS {
            if let Some(default) = key.default {
                self.take(key.path, parse_text(key.kind, default, sources));
            }
        }
    }

    pub(super) fn read_table(&mut self, prefix: &str, table: &toml::Table, sources: &Sources<'_>) {
        for (name, value) in table {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match (find(&path), value) {
                (Some(key), value) => self.take(key.path, parse(key.kind, value, sources)),
                (None, Value::Table(inner)) if is_section(&path) => self.read_table(&path, inner, sources),
                (None, _) if is_section(&path) => {
                    self.problem(&path, format!("is a section: write [{path}], then its keys"));
                }
                (None, _) => self.unknown(&path),
            }
        }
    }

    fn unknown(&mut self, path: &str) {
        self.problem(path, format!("unknown key{}", hint(path)));
    }

    pub(super) fn read_environment(&mut self, sources: &Sources<'_>) {
        for (name, text) in sources.environment {
            let Some(rest) = name.strip_prefix(OVERRIDE) else { continue };
            let path = rest.to_ascii_lowercase().replace("__", ".");
            match find(&path) {
                Some(key) => {
                    let parsed = parse_text(key.kind, text, sources);
                    self.take(key.path, parsed.map_err(|what| format!("{what} (from {name})")));
                }
                None => self.problem(name, format!("overrides the unknown key `{path}`{}", hint(&path))),
            }
        }
    }

    pub(super) fn check_required(&mut self) {
        for key in KEYS.iter().filter(|key| key.required) {
            let broken = self.problems.iter().any(|problem| problem.key == key.path);
            if !self.values.contains_key(key.path) && !broken {
                self.problem(key.path, format!("is required: {}", key.doc));
            }
        }
    }

    pub(super) fn text(&self, path: &str) -> Option<String> {
        match self.values.get(path)? {
            Parsed::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    pub(super) fn url(&self, path: &str) -> Option<Url> {
        match self.values.get(path)? {
            Parsed::Url(url) => Some(url.clone()),
            _ => None,
        }
    }

    pub(super) fn flag(&self, path: &str) -> bool {
        matches!(self.values.get(path), Some(Parsed::Bool(true)))
    }

    pub(super) fn number<N: TryFrom<u64>>(&self, path: &str) -> Option<N> {
        match self.values.get(path)? {
            Parsed::Number(number) => N::try_from(*number).ok(),
            _ => None,
        }
    }

    pub(super) fn span(&self, path: &str) -> Option<Duration> {
        match self.values.get(path)? {
            Parsed::Duration(span) => Some(*span),
            _ => None,
        }
    }

    /// None: the key is missing; none inside: there is no guard.
    pub(super) fn guard(&self) -> Option<Option<Limits>> {
        match self.values.get("deprovision.guard")? {
            Parsed::Guard(limits) => Some(*limits),
            _ => None,
        }
    }

    pub(super) fn profile(&self) -> Option<Arc<Profile>> {
        match self.values.get("target.profile")? {
            Parsed::Profile(profile) => Some(profile.clone()),
            _ => None,
        }
    }

    /// None: nothing is said; none inside: no fixed rate.
    pub(super) fn rate(&self, path: &str) -> Option<Option<Rate>> {
        match self.values.get(path)? {
            Parsed::Rate(rate) => Some(*rate),
            _ => None,
        }
    }

    pub(super) fn texts(&self, path: &str) -> Option<Vec<String>> {
        match self.values.get(path)? {
            Parsed::Texts(texts) => Some(texts.clone()),
            _ => None,
        }
    }

    pub(super) fn secret(&self, path: &str) -> Option<SecretString> {
        match self.values.get(path)? {
            Parsed::Secret(secret) => Some(secret.clone()),
            _ => None,
        }
    }

    /// The files of one section; a certificate needs its key.
    pub(super) fn tls(&mut self, section: &str) -> TlsFiles {
        let file = |reader: &Self, name: &str| reader.text(&format!("{section}.{name}"));
        let (certificate, key) = (file(self, "client_certificate_file"), file(self, "client_key_file"));
        let client = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                self.problem(
                    &format!("{section}.client_key_file"),
                    "is required with client_certificate_file",
                );
                None
            }
            (None, Some(_)) => {
                self.problem(
                    &format!("{section}.client_certificate_file"),
                    "is required with client_key_file",
                );
                None
            }
        };
        TlsFiles { ca: file(self, "ca_file"), client }
    }
}

/// What may have been meant, as the end of a sentence.
fn hint(path: &str) -> String {
    similar(path).map(|known| format!("; did you mean `{known}`?")).unwrap_or_default()
}
