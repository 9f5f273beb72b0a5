//! Values of keys: parsed once, from TOML or from the text of an environment variable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use toml::Value;
use url::Url;

use super::keys::Kind;
use crate::core::budget::Rate;
use crate::core::conflict::Winner;
use crate::core::guard::Limits;
use crate::core::path::Path;
use crate::target::Profile;

/// Most resources in a limit of the guard.
pub(super) const MOST_RESOURCES: u64 = 1_000_000_000;
/// The limits of the guard.
const GUARD_KEYS: &str = "max_per_hour, max_per_day, max_percent, min_resources";
/// Most rungs of the retry ladder.
pub(super) const MAX_DELAYS: usize = 32;

/// A parsed value.
#[derive(Clone, Debug)]
pub enum Parsed {
    /// A text, a name, a choice or a path.
    Text(String),
    /// An address.
    Url(Url),
    /// true or false.
    Bool(bool),
    /// A number, or an amount of bytes.
    Number(u64),
    /// A time span.
    Duration(Duration),
    /// Time spans.
    Durations(Vec<Duration>),
    /// Texts.
    Texts(Vec<String>),
    /// A secret, loaded.
    Secret(SecretString),
    /// Limits of the guard; none: there is no guard.
    Guard(Option<Limits>),
    /// A profile, read.
    Profile(Arc<Profile>),
    /// Who is right about an attribute.
    Winners(BTreeMap<Path, Winner>),
    /// A rate; none: no fixed one.
    Rate(Option<Rate>),
}

/// Where secrets come from.
pub struct Sources<'a> {
    /// The environment.
    pub environment: &'a BTreeMap<String, String>,
    /// Reads a file.
    pub read: &'a dyn Fn(&str) -> std::io::Result<String>,
}

/// Parses a TOML value; the error says what is wrong and what would be right.
pub fn parse(kind: Kind, value: &Value, sources: &Sources<'_>) -> Result<Parsed, String> {
    match (kind, value) {
        (Kind::Text, Value::String(text)) if !text.is_empty() => Ok(Parsed::Text(text.clone())),
        (Kind::Text, _) => Err("must be a text that is not empty".into()),
        (Kind::File, Value::String(path)) if !path.is_empty() => match (sources.read)(path) {
            Ok(_) => Ok(Parsed::Text(path.clone())),
            Err(error) => Err(unreadable(path, &error)),
        },
        (Kind::File, _) => Err("must be the path of a file".into()),
        (Kind::Name, Value::String(text)) => name(text),
        (Kind::Name, _) => Err("must be a text".into()),
        (Kind::Url(schemes), Value::String(text)) => address(text, schemes),
        (Kind::Url(_), _) => Err("must be a URL in quotes".into()),
        (Kind::Bool, Value::Boolean(value)) => Ok(Parsed::Bool(*value)),
        (Kind::Bool, _) => Err("must be true or false".into()),
        (Kind::Int(least, most), Value::Integer(number)) => whole(*number, least, most),
        (Kind::Int(least, most), _) => Err(format!("must be a whole number from {least} to {most}")),
        (Kind::Bytes(least), Value::String(text)) => bytes(text, least),
        (Kind::Bytes(least), Value::Integer(number)) => whole(*number, least, u64::MAX >> 1),
        (Kind::Bytes(_), _) => Err("must be an amount of bytes such as \"1MiB\"".into()),
        (Kind::Duration(least, most), Value::String(text)) => {
            duration(text).and_then(|span| within(span, least, most)).map(Parsed::Duration)
        }
        (Kind::Duration(..), _) => Err("must be a time span with its unit in quotes, such as \"30s\"".into()),
        (Kind::Delays, Value::Array(items)) => delays(items),
        (Kind::Delays, _) => Err("must be a list of time spans such as [\"1s\", \"5s\"]".into()),
        (Kind::Texts, Value::Array(items)) => texts(items),
        (Kind::Texts, _) => Err("must be a list of texts".into()),
        (Kind::Choice(choices), Value::String(text)) if choices.contains(&text.as_str()) => {
            Ok(Parsed::Text(text.clone()))
        }
        (Kind::Choice(choices), _) => Err(format!("must be one of {}", choices.join(", "))),
        (Kind::Secret, value) => secret(value, sources),
        (Kind::Profile, Value::String(name)) => match Profile::load(name, sources.read) {
            Ok(profile) => Ok(Parsed::Profile(Arc::new(profile))),
            Err(error) => Err(error.to_string()),
        },
        (Kind::Profile, _) => Err("must be the name of a profile, or the path of a file".into()),
        (Kind::Rate, Value::String(text)) => rate(text),
        (Kind::Rate, Value::Integer(0)) => Ok(Parsed::Rate(None)),
        (Kind::Rate, _) => Err(RATE_FORM.to_owned()),
        (Kind::Guard, Value::Boolean(false)) => Ok(Parsed::Guard(None)),
        (Kind::Guard, Value::Table(table)) => guard(table).map(|limits| Parsed::Guard(Some(limits))),
        (Kind::Winners, Value::Table(table)) => winners(table).map(Parsed::Winners),
        (Kind::Winners, _) => Err("must be a table such as { active = \"target-wins\" }".into()),
        (Kind::Guard, _) => Err("must be false, or a table such as { max_per_hour = 200 }".into()),
    }
}

/// Parses the text of an environment variable: as TOML if it is of the key's type, else as a text.
pub fn parse_text(kind: Kind, text: &str, sources: &Sources<'_>) -> Result<Parsed, String> {
    // a line break would make more of it than one value
    let document: Option<toml::Table> =
        format!("x = {text}").parse().ok().filter(|it: &toml::Table| it.len() == 1);
    let value = document.and_then(|mut document| document.remove("x"));
    let parsed = value.as_ref().map(|value| parse(kind, value, sources));
    match (kind, value, parsed) {
        (_, _, Some(Ok(parsed))) => Ok(parsed),
        (Kind::Secret | Kind::Guard | Kind::Winners, Some(Value::Table(_)), Some(Err(what))) => Err(what),
        (Kind::Secret, ..) if text.trim_start().starts_with('{') => Err(SECRET_FORM.to_owned()),
        // it comes from the environment, which is one of the two places where secrets may come from
        (Kind::Secret, ..) => not_empty(text),
        // the error that the value as TOML met tells more than the one that its text meets
        (Kind::Delays | Kind::Texts, Some(Value::Array(_)), Some(Err(what)))
        | (Kind::Int(..) | Kind::Bytes(_), Some(Value::Integer(_)), Some(Err(what))) => Err(what),
        _ => parse(kind, &Value::String(text.to_owned()), sources),
    }
}

fn unreadable(path: &str, error: &std::io::Error) -> String {
    format!("the file `{path}` can't be read: {error}")
}

fn name(text: &str) -> Result<Parsed, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match (1..=40).contains(&text.len()) && text.chars().all(good) {
        true => Ok(Parsed::Text(text.to_owned())),
        false => {
            Err("must be 1 to 40 letters, digits, `-` or `_`: it becomes part of queue names and keys".into())
        }
    }
}

fn address(text: &str, schemes: &[&str]) -> Result<Parsed, String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    match schemes.contains(&url.scheme()) && url.host_str().is_some_and(|host| !host.is_empty()) {
        true => Ok(Parsed::Url(url)),
        false => {
            Err(format!("must be a URL with a host that begins with {}", schemes.join(":// or ") + "://"))
        }
    }
}

fn whole(number: i64, least: u64, most: u64) -> Result<Parsed, String> {
    match u64::try_from(number) {
        Ok(number) if (least..=most).contains(&number) => Ok(Parsed::Number(number)),
        _ => Err(format!("is {number}, must be a whole number from {least} to {most}")),
    }
}

fn bytes(text: &str, least: u64) -> Result<Parsed, String> {
    let bad = || format!("`{text}` is not an amount of bytes such as \"64KiB\", \"1MiB\" or \"20GiB\"");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| bad())?;
    let unit: u64 = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(bad()),
    };
    let total = number.checked_mul(unit).filter(|total| i64::try_from(*total).is_ok()).ok_or_else(bad)?;
    match total >= least {
        true => Ok(Parsed::Number(total)),
        false => Err(format!("is {total} bytes, must be at least {least}")),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text)
        .map_err(|_| format!("`{text}` is not a time span such as \"50ms\", \"30s\", \"15m\" or \"7d\""))?;
    match span.subsec_nanos() % 1_000_000 {
        0 => Ok(span),
        _ => Err(format!("`{text}` is finer than a millisecond")),
    }
}

fn within(span: Duration, least: u64, most: u64) -> Result<Duration, String> {
    let (least, most) = (Duration::from_millis(least), Duration::from_millis(most));
    match (least..=most).contains(&span) {
        true => Ok(span),
        false => Err(format!("is {}, must be from {} to {}", shown(span), shown(least), shown(most))),
    }
}

/// A time span in its largest unit that leaves no rest: nobody thinks of ten years in months.
fn shown(span: Duration) -> String {
    let millis = span.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match units.into_iter().find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None => format!("{millis}ms"),
    }
}

fn delays(items: &[Value]) -> Result<Parsed, String> {
    if items.len() > MAX_DELAYS {
        return Err(format!("holds {} delays, at most {MAX_DELAYS}: each is a queue", items.len()));
    }
    let mut delays: Vec<Duration> = Vec::new();
    for item in items {
        let Value::String(text) = item else {
            return Err("every delay must be a text such as \"5s\"".into());
        };
        let delay = duration(text).and_then(|span| within(span, 10, 30 * 86_400_000))?;
        if delays.last().is_some_and(|last| *last >= delay) {
            return Err(format!("delays must increase: `{text}` does not"));
        }
        delays.push(delay);
    }
    match delays.is_empty() {
        false => Ok(Parsed::Durations(delays)),
        true => Err("must hold at least one delay".into()),
    }
}

/// Limits that are not named have their defaults.
fn guard(table: &toml::Table) -> Result<Limits, String> {
    let mut limits = Limits::default();
    for (name, value) in table {
        let (limit, most) = match name.as_str() {
            "max_per_hour" => (&mut limits.max_per_hour, MOST_RESOURCES),
            "max_per_day" => (&mut limits.max_per_day, MOST_RESOURCES),
            "max_percent" => (&mut limits.max_percent, 100),
            "min_resources" => (&mut limits.min_resources, MOST_RESOURCES),
            _ => return Err(format!("has no `{name}`: it knows {GUARD_KEYS}")),
        };
        let Value::Integer(number) = value else {
            return Err(format!("`{name}` must be a whole number from 0 to {most}"));
        };
        match whole(*number, 0, most).map_err(|what| format!("`{name}` {what}"))? {
            Parsed::Number(number) => *limit = number,
            _ => return Err(format!("`{name}` must be a whole number from 0 to {most}")),
        }
    }
    Ok(limits)
}

/// Who is right, by the word in the configuration.
pub(super) fn winner(word: &str) -> Option<Winner> {
    match word {
        "source-wins" => Some(Winner::Source),
        "target-wins" => Some(Winner::Target),
        _ => None,
    }
}

fn winners(table: &toml::Table) -> Result<BTreeMap<Path, Winner>, String> {
    let one = |(name, value): (&String, &Value)| {
        let path: Path = name.parse().map_err(|error| format!("{error}"))?;
        if path.selector.is_some() {
            return Err(format!(
                "`{name}`: an element of a list has no policy of its own: name the whole attribute"
            ));
        }
        let winner = value.as_str().and_then(winner);
        let winner = winner.ok_or_else(|| format!("`{name}` must be source-wins or target-wins"))?;
        Ok((path, winner))
    };
    table.iter().map(one).collect()
}

/// How a rate is written.
const RATE_FORM: &str = "must be a rate such as \"50/s\", \"180/m\" or \"1000/h\", or \"0\" for none";

fn rate(text: &str) -> Result<Parsed, String> {
    match (text, text.parse()) {
        ("0", _) => Ok(Parsed::Rate(None)),
        (_, Ok(rate)) => Ok(Parsed::Rate(Some(rate))),
        (_, Err(_)) => Err(format!("is `{text}`, {RATE_FORM}")),
    }
}

fn texts(items: &[Value]) -> Result<Parsed, String> {
    let one = |item: &Value| match item {
        Value::String(text) if !text.is_empty() && text.len() <= 255 => Ok(text.clone()),
        _ => Err("must hold texts of 1 to 255 bytes only".to_owned()),
    };
    items.iter().map(one).collect::<Result<Vec<String>, String>>().map(Parsed::Texts)
}

/// How a secret is named.
const SECRET_FORM: &str = "write { env = \"NAME\" } or { file = \"PATH\" }";

fn secret(value: &Value, sources: &Sources<'_>) -> Result<Parsed, String> {
    let Value::Table(table) = value else {
        return Err(format!("a secret does not stand in the configuration: {SECRET_FORM}"));
    };
    let text = match (table.get("env"), table.get("file"), table.len()) {
        (Some(Value::String(name)), None, 1) => match sources.environment.get(name) {
            Some(text) => text.clone(),
            None => return Err(format!("the environment variable `{name}` is not set")),
        },
        (None, Some(Value::String(path)), 1) => match (sources.read)(path) {
            Ok(text) => text.trim_end_matches(['\r', '\n']).to_owned(),
            Err(error) => return Err(unreadable(path, &error)),
        },
        _ => return Err(SECRET_FORM.to_owned()),
    };
    not_empty(&text)
}

fn not_empty(secret: &str) -> Result<Parsed, String> {
    match secret.is_empty() {
        false => Ok(Parsed::Secret(secret.into())),
        true => Err("the secret is empty".into()),
    }
}
