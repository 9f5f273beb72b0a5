//! Which letters a command is about.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::app::Failure;
use crate::cli::{Exit, Select};
use crate::core::schedule::Millis;
use crate::decode::intent::timestamp;
use crate::pipeline::head::Head;

/// A parsed selection.
#[derive(Clone, Debug, Default)]
pub(in crate::app) struct Selection {
    pub(in crate::app) ids: BTreeSet<String>,
    parked: bool,
    classes: BTreeSet<String>,
    statuses: BTreeSet<u16>,
    resource: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    fingerprints: BTreeSet<String>,
    pub(in crate::app) limit: Option<usize>,
    all: bool,
}

impl Selection {
    /// Parses what was asked for.
    pub(in crate::app) fn parse(select: &Select, now: Millis) -> Result<Self, Failure> {
        let when = |text: &Option<String>| text.as_deref().map(|text| time(text, now)).transpose();
        Ok(Self {
            ids: select.ids.iter().cloned().collect(),
            classes: select.class.iter().cloned().collect(),
            statuses: select.status.iter().copied().collect(),
            resource: select.resource.clone(),
            since: when(&select.since)?,
            until: when(&select.until)?,
            fingerprints: select.fingerprint.iter().cloned().collect(),
            limit: select.limit,
            all: select.all,
            parked: select.parked,
        })
    }

    /// An error unless somebody said which letters: what changes something is not done to all of them by omission.
    pub(in crate::app) fn must_choose(&self) -> Result<(), Failure> {
        match self.is_a_choice() {
            true => Ok(()),
            false => Err(("which letters? give IDs, a filter such as --class, or --all".into(), Exit::Usage)),
        }
    }

    /// True if somebody said which letters.
    pub(in crate::app) fn is_a_choice(&self) -> bool {
        let filtered = !self.classes.is_empty()
            || !self.statuses.is_empty()
            || !self.fingerprints.is_empty()
            || self.resource.is_some()
            || self.since.is_some()
            || self.until.is_some();
        self.all || filtered || !self.ids.is_empty()
    }

    /// True if a letter is meant, `limit` apart.
    pub(in crate::app) fn has(&self, head: &Head) -> bool {
        let any = |set: &BTreeSet<String>, value: Option<&str>| {
            set.is_empty() || value.is_some_and(|value| set.contains(value))
        };
        any(&self.ids, Some(&head.id))
            && any(&self.classes, Some(&head.class))
            && any(&self.fingerprints, head.fingerprint.as_deref())
            && (self.statuses.is_empty()
                || head.http_status.is_some_and(|status| self.statuses.contains(&status)))
            && self.resource.as_deref().is_none_or(|glob| {
                head.resource.as_deref().is_some_and(|resource| fits(glob.as_bytes(), resource.as_bytes()))
            })
            && self.in_time(head)
    }

    fn in_time(&self, head: &Head) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let failed = head.last_failed_at.as_deref().and_then(|time| time.parse::<Timestamp>().ok());
        failed.is_some_and(|at| {
            self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
        })
    }

    /// In words, for the audit record.
    pub(in crate::app) fn describe(&self) -> String {
        let mut words = Vec::new();
        let mut list = |name: &str, values: Vec<String>| {
            words.extend(values.into_iter().map(|value| format!("{name}={value}")));
        };
        list("id", self.ids.iter().cloned().collect());
        list("class", self.classes.iter().cloned().collect());
        list("status", self.statuses.iter().map(u16::to_string).collect());
        list("resource", self.resource.iter().cloned().collect());
        list("since", self.since.iter().map(Timestamp::to_string).collect());
        list("until", self.until.iter().map(Timestamp::to_string).collect());
        list("fingerprint", self.fingerprints.iter().cloned().collect());
        list("limit", self.limit.iter().map(usize::to_string).collect());
        let words = if words.is_empty() { "all".to_owned() } else { words.join(" ") };
        if self.parked { format!("parked: {words}") } else { words }
    }
}

/// RFC 3339, or an age.
pub(in crate::app) fn time(text: &str, now: Millis) -> Result<Timestamp, Failure> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    match humantime::parse_duration(text) {
        Ok(age) => {
            let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            Ok(timestamp(Millis(now.0.saturating_sub(age).max(0))))
        }
        Err(_) => Err((format!("`{text}` is neither a time (RFC 3339) nor an age such as 2h"), Exit::Usage)),
    }
}

/// True if a text fits a glob of `*` and `?`: the last star takes one byte more whenever what follows it does not fit.
fn fits(glob: &[u8], text: &[u8]) -> bool {
    let (mut g, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match glob.get(g) {
            Some(b'*') => {
                star = Some((g, t));
                g += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                g += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (g, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    glob[g..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_fit_whole_names() {
        for (glob, text, expected) in [
            ("User/*", "User/e-1", true),
            ("User/e-?", "User/e-10", false),
            ("*e-1*", "User/e-10042", true),
            ("*a*b", "xaayab", true),
            ("*a*b", "xaayabc", false),
            ("Group/*", "User/e-1", false),
        ] {
            assert_eq!(fits(glob.as_bytes(), text.as_bytes()), expected, "{glob} {text}");
        }
    }

    #[test]
    fn times_are_instants_or_ages() {
        let now = Millis(1_700_000_000_000);
        assert_eq!(time("2h", now).unwrap().as_millisecond(), now.0 - 7_200_000);
        assert_eq!(time("2026-11-21T09:30:00Z", now).unwrap().to_string(), "2026-11-21T09:30:00Z");
        assert!(time("yesterday", now).is_err());
    }

    #[test]
    fn what_changes_something_wants_a_choice() {
        assert!(Selection { limit: Some(1), ..Selection::default() }.must_choose().is_err());
        assert!(Selection { all: true, ..Selection::default() }.must_choose().is_ok());
        assert!(
            Selection { since: Some(Timestamp::UNIX_EPOCH), ..Selection::default() }.must_choose().is_ok()
        );
    }

    #[test]
    fn filters_are_all_to_be_met() {
        let head = Head {
            class: "invalid".into(),
            http_status: Some(400),
            last_failed_at: Some("2026-11-21T09:30:00Z".into()),
            ..Head::default()
        };
        let class = |class: &str| BTreeSet::from([class.to_owned()]);
        let selection =
            Selection { classes: class("invalid"), statuses: [400].into(), ..Selection::default() };
        assert!(selection.has(&head));
        assert!(!Selection { classes: class("decode"), ..selection.clone() }.has(&head));
        assert!(!Selection { until: Some(Timestamp::UNIX_EPOCH), ..selection }.has(&head));
    }
}
