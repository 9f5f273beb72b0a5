//! Dispositions: what is done about an outcome. One pure, total function (design D7); only `settle` acts on it.

use std::time::Duration;

use super::letter::Class;
use super::operation::Method;
use super::outcome::{Answer, NotSent, Outcome, Unknown};

/// Where an outcome was seen, and what is known about the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    /// The method of the write.
    pub method: Method,
    /// True for one result inside a bulk response, false for the answer to a request of its own.
    pub in_bulk: bool,
    /// A version was sent along.
    pub sent_version: bool,
    /// The write names other resources.
    pub has_references: bool,
    /// How many members it removes.
    pub members_removed: usize,
    /// The target's health since the request was sent.
    pub health: Health,
}

/// Whether a failure says something about the resource, or about the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Since the request was sent another write succeeded; or few failed, and the probe succeeded.
    Up,
    /// Nothing tells that the target is well.
    Doubtful,
}

/// What is done about one operation's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Done: commit.
    Applied,
    /// It was true already: commit.
    NoOp,
    /// Something like it exists, or a reference is unknown there: look up, adopt what is ours or unclaimed. Where that
    /// finds nothing, it is a failure of this class.
    Exists(Class),
    /// Changed by others: read, merge, once more at once, then the ladder.
    Conflict,
    /// The target's resource is gone: forget the id, look up.
    Gone,
    /// A member to remove was not there; the rest of the request was not applied either.
    MissingMember,
    /// Nobody knows: look before anything is written again. No attempt used; the target is in doubt.
    Verify,
    /// A failure of the resource itself: ladder, one attempt used; `verify`: look first.
    Retry {
        /// What letters will say.
        class: Class,
        /// It may have been applied.
        verify: bool,
    },
    /// Refused for good.
    Dead(Class),
    /// The target is busy: nobody sends before this; none: it did not say. No attempt used.
    Busy(Option<Duration>),
    /// This resource waits, the target is otherwise well. No attempt used.
    Wait(Option<Duration>),
    /// PATCH does not exist here: overlay with PUT from now on.
    NoPatch,
    /// The target is in trouble, and this was not applied. No attempt used.
    Trouble(Trouble),
}

impl Disposition {
    /// True if the target is to be looked at before the next write.
    pub fn must_verify(&self) -> bool {
        matches!(self, Disposition::Verify | Disposition::Retry { verify: true, .. })
    }
}

/// What is wrong with the target as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// Not reachable, or answers with 5xx.
    Down,
    /// The credentials are refused.
    Credentials,
    /// Refuses everything: the scope, the base URL or a proxy is wrong.
    Refusing,
    /// A redirect that is not followed: the base URL is wrong.
    Redirect,
    /// The claims had run out before the request could be sent, or there was no place for it in the budget.
    Deadline,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Trouble; 5] =
        [Trouble::Down, Trouble::Credentials, Trouble::Refusing, Trouble::Redirect, Trouble::Deadline];

    /// The word in the store.
    pub const fn key(self) -> &'static str {
        match self {
            Trouble::Down => "down",
            Trouble::Credentials => "credentials",
            Trouble::Refusing => "refusing",
            Trouble::Redirect => "redirect",
            Trouble::Deadline => "deadline",
        }
    }

    /// What is said of it in logs and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Trouble::Down => "down",
            Trouble::Credentials => "credentials refused",
            Trouble::Refusing => "refuses everything: check scope, base_url and proxies",
            Trouble::Redirect => "redirects elsewhere: check base_url",
            Trouble::Deadline => "claims ran out before the request was sent",
        }
    }
}

/// What is done about one operation. Total: every outcome has exactly one disposition.
pub fn classify(situation: &Situation, outcome: &Outcome) -> Disposition {
    match outcome {
        Outcome::Answered(answer) => classify_answer(situation, answer),
        Outcome::Unknown(Unknown::Missing | Unknown::Unreadable) => Disposition::Verify,
        Outcome::Unknown(Unknown::Timeout | Unknown::Dropped) => own_or_targets(situation, Class::Exhausted),
        Outcome::NotSent(NotSent::Connect(_) | NotSent::Tls(_)) => Disposition::Trouble(Trouble::Down),
        Outcome::NotSent(NotSent::Token(_)) => Disposition::Trouble(Trouble::Credentials),
        Outcome::NotSent(NotSent::Deadline | NotSent::Budget(_)) => Disposition::Trouble(Trouble::Deadline),
    }
}

/// A 5xx or a timeout: the resource's own if the target is seen to be up, the target's otherwise.
fn own_or_targets(situation: &Situation, class: Class) -> Disposition {
    match situation.health {
        Health::Up => Disposition::Retry { class, verify: true },
        Health::Doubtful => Disposition::Verify,
    }
}

fn classify_answer(situation: &Situation, answer: &Answer) -> Disposition {
    let scim_type = answer.scim_type.as_deref().unwrap_or("");
    let versioned = situation.sent_version && situation.method != Method::Post;
    match answer.status {
        200..=299 => Disposition::Applied,
        409 if situation.method == Method::Post && situation.has_references => {
            Disposition::Exists(Class::UnresolvedReference)
        }
        409 if situation.method == Method::Post => Disposition::Exists(Class::Uniqueness),
        412 => Disposition::Conflict,
        409 if versioned && !scim_type.eq_ignore_ascii_case("uniqueness") => Disposition::Conflict,
        400 if versioned && scim_type.eq_ignore_ascii_case("invalidVers") => Disposition::Conflict,
        409 => conflict_without_version(scim_type),
        404 | 410 if situation.method == Method::Delete && (answer.scim_error || situation.in_bulk) => {
            Disposition::NoOp
        }
        404 | 410 => gone(situation, answer),
        400 if situation.members_removed > 0 && scim_type.eq_ignore_ascii_case("noTarget") => {
            Disposition::MissingMember
        }
        401 => Disposition::Trouble(Trouble::Credentials),
        403 => refused(situation, answer, Class::Forbidden),
        405 | 501 if situation.method == Method::Patch => Disposition::NoPatch,
        405 | 501 => Disposition::Dead(Class::NotSupported),
        413 => Disposition::Dead(Class::TooLarge),
        429 if situation.in_bulk => Disposition::Wait(answer.retry_after),
        429 => Disposition::Busy(answer.retry_after),
        503 if answer.retry_after.is_some() && situation.in_bulk => Disposition::Wait(answer.retry_after),
        503 if answer.retry_after.is_some() => Disposition::Busy(answer.retry_after),
        408 | 425 | 500..=599 => own_or_targets(situation, Class::Exhausted),
        300..=399 => Disposition::Trouble(Trouble::Redirect),
        400..=499 => refused(situation, answer, Class::Invalid),
        0..=199 | 600.. => own_or_targets(situation, Class::Exhausted),
    }
}

/// A 409 where no version can be at fault: a name that somebody else has, perhaps not for long.
fn conflict_without_version(scim_type: &str) -> Disposition {
    let class =
        if scim_type.eq_ignore_ascii_case("uniqueness") { Class::Uniqueness } else { Class::Conflict };
    Disposition::Retry { class, verify: false }
}

/// "Not found" is believed where the answer is SCIM's, or where another answer shows that the path is right.
fn gone(situation: &Situation, answer: &Answer) -> Disposition {
    match (answer.scim_error || situation.in_bulk, situation.method, situation.health) {
        (_, Method::Post, Health::Up) => Disposition::Dead(Class::NotSupported),
        (_, Method::Post, Health::Doubtful) => Disposition::Trouble(Trouble::Refusing),
        (true, _, _) | (false, _, Health::Up) => Disposition::Gone,
        (false, _, Health::Doubtful) => Disposition::Trouble(Trouble::Refusing),
    }
}

/// A refusal is the resource's if it is SCIM's (or inside a bulk response); without a SCIM error it may be a proxy's.
fn refused(situation: &Situation, answer: &Answer, class: Class) -> Disposition {
    match (answer.scim_error || situation.in_bulk, situation.health) {
        (true, _) | (false, Health::Up) => Disposition::Dead(class),
        (false, Health::Doubtful) => Disposition::Trouble(Trouble::Refusing),
    }
}

/// What is done about a bulk request that failed as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WholeDisposition {
    /// No Bulk here: single requests from now on (`mode = "auto"`), or a target fault (`mode = "bulk"`).
    NoBulk,
    /// Too much: halve and resend, and learn the limit; one alone goes as a single request.
    TooLarge,
    /// One poison among many, or the scope: halve and resend; one alone goes as a single request.
    Halve,
    /// Nobody knows what was applied: all are looked at; the next batch is half as large.
    Unknown,
    /// The target is busy.
    Busy(Option<Duration>),
    /// Certainly nothing was applied, and it is the target's fault.
    Trouble(Trouble),
}

/// What is done about a bulk request that failed as a whole. Total.
pub fn classify_whole(outcome: &Outcome) -> WholeDisposition {
    match outcome {
        Outcome::Answered(answer) => match answer.status {
            404 | 405 | 501 => WholeDisposition::NoBulk,
            413 => WholeDisposition::TooLarge,
            401 => WholeDisposition::Trouble(Trouble::Credentials),
            429 => WholeDisposition::Busy(answer.retry_after),
            503 if answer.retry_after.is_some() => WholeDisposition::Busy(answer.retry_after),
            300..=399 => WholeDisposition::Trouble(Trouble::Redirect),
            408 | 425 => WholeDisposition::Unknown,
            400..=499 => WholeDisposition::Halve,
            0..=299 | 500.. => WholeDisposition::Unknown,
        },
        Outcome::Unknown(Unknown::Timeout | Unknown::Dropped | Unknown::Unreadable | Unknown::Missing) => {
            WholeDisposition::Unknown
        }
        Outcome::NotSent(NotSent::Connect(_) | NotSent::Tls(_)) => WholeDisposition::Trouble(Trouble::Down),
        Outcome::NotSent(NotSent::Token(_)) => WholeDisposition::Trouble(Trouble::Credentials),
        Outcome::NotSent(NotSent::Deadline | NotSent::Budget(_)) => {
            WholeDisposition::Trouble(Trouble::Deadline)
        }
    }
}

/// True if a request with this outcome may still be applied later: it was given up, or a gateway gave it up.
pub fn may_come_late(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Unknown(Unknown::Timeout | Unknown::Dropped) => true,
        Outcome::Answered(answer) => matches!(answer.status, 408 | 502 | 504),
        Outcome::Unknown(Unknown::Unreadable | Unknown::Missing) | Outcome::NotSent(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn single(method: Method) -> Situation {
        Situation {
            method,
            in_bulk: false,
            sent_version: false,
            has_references: false,
            members_removed: 0,
            health: Health::Doubtful,
        }
    }

    fn scim(status: u16, scim_type: &str) -> Outcome {
        let scim_type = (!scim_type.is_empty()).then(|| scim_type.to_owned());
        Outcome::Answered(Answer { status, scim_type, scim_error: true, ..Answer::default() })
    }

    fn plain(status: u16) -> Outcome {
        Outcome::Answered(Answer { status, ..Answer::default() })
    }

    fn later(status: u16) -> Outcome {
        Outcome::Answered(Answer { status, retry_after: Some(Duration::from_secs(7)), ..Answer::default() })
    }

    #[test]
    fn every_row_of_the_table_has_its_action() {
        use Method::{Delete, Patch, Post, Put};
        let up = |s: Situation| Situation { health: Health::Up, ..s };
        let bulk = |s: Situation| Situation { in_bulk: true, ..s };
        let versioned = |s: Situation| Situation { sent_version: true, ..s };
        let removal = Situation { members_removed: 2, ..single(Patch) };
        let own = |verify| Disposition::Retry { class: Class::Exhausted, verify };
        let seven = Some(Duration::from_secs(7));
        let rows = [
            (single(Post), scim(201, ""), Disposition::Applied),
            (single(Patch), scim(204, ""), Disposition::Applied),
            (single(Post), Outcome::Unknown(Unknown::Unreadable), Disposition::Verify),
            (bulk(single(Patch)), Outcome::Unknown(Unknown::Missing), Disposition::Verify),
            (single(Post), scim(409, "uniqueness"), Disposition::Exists(Class::Uniqueness)),
            (single(Post), scim(409, ""), Disposition::Exists(Class::Uniqueness)),
            (
                Situation { has_references: true, ..single(Post) },
                scim(409, ""),
                Disposition::Exists(Class::UnresolvedReference),
            ),
            (single(Patch), scim(412, ""), Disposition::Conflict),
            (versioned(single(Put)), scim(409, ""), Disposition::Conflict),
            (versioned(single(Patch)), scim(400, "invalidVers"), Disposition::Conflict),
            (single(Patch), scim(400, "invalidVers"), Disposition::Dead(Class::Invalid)),
            (
                versioned(single(Patch)),
                scim(409, "uniqueness"),
                Disposition::Retry { class: Class::Uniqueness, verify: false },
            ),
            (single(Patch), scim(404, ""), Disposition::Gone),
            (single(Patch), plain(404), Disposition::Trouble(Trouble::Refusing)),
            (up(single(Patch)), plain(404), Disposition::Gone),
            (up(single(Put)), plain(410), Disposition::Gone),
            (single(Delete), scim(404, ""), Disposition::NoOp),
            (single(Delete), plain(404), Disposition::Trouble(Trouble::Refusing)),
            (removal, scim(400, "noTarget"), Disposition::MissingMember),
            (single(Patch), scim(400, "noTarget"), Disposition::Dead(Class::Invalid)),
            (single(Post), plain(401), Disposition::Trouble(Trouble::Credentials)),
            (single(Post), plain(429), Disposition::Busy(None)),
            (single(Post), later(429), Disposition::Busy(seven)),
            (single(Post), later(503), Disposition::Busy(seven)),
            (bulk(single(Post)), later(429), Disposition::Wait(seven)),
            (bulk(single(Post)), later(503), Disposition::Wait(seven)),
            (single(Post), plain(503), Disposition::Verify),
            (single(Post), plain(500), Disposition::Verify),
            (up(single(Post)), plain(500), own(true)),
            (up(single(Post)), plain(408), own(true)),
            (up(bulk(single(Patch))), scim(500, ""), own(true)),
            (up(single(Patch)), Outcome::Unknown(Unknown::Timeout), own(true)),
            (single(Patch), Outcome::Unknown(Unknown::Dropped), Disposition::Verify),
            (
                single(Patch),
                Outcome::NotSent(NotSent::Connect("x".into())),
                Disposition::Trouble(Trouble::Down),
            ),
            (
                up(single(Patch)),
                Outcome::NotSent(NotSent::Tls("x".into())),
                Disposition::Trouble(Trouble::Down),
            ),
            (single(Patch), Outcome::NotSent(NotSent::Deadline), Disposition::Trouble(Trouble::Deadline)),
            (
                single(Patch),
                Outcome::NotSent(NotSent::Budget("x".into())),
                Disposition::Trouble(Trouble::Deadline),
            ),
            (single(Patch), scim(501, ""), Disposition::NoPatch),
            (single(Patch), plain(405), Disposition::NoPatch),
            (single(Post), scim(501, ""), Disposition::Dead(Class::NotSupported)),
            (single(Post), plain(302), Disposition::Trouble(Trouble::Redirect)),
            (single(Post), scim(400, "invalidValue"), Disposition::Dead(Class::Invalid)),
            (single(Post), scim(422, ""), Disposition::Dead(Class::Invalid)),
            (single(Post), scim(418, ""), Disposition::Dead(Class::Invalid)),
            (single(Post), plain(400), Disposition::Trouble(Trouble::Refusing)),
            (single(Patch), scim(403, ""), Disposition::Dead(Class::Forbidden)),
            (single(Patch), plain(403), Disposition::Trouble(Trouble::Refusing)),
            (single(Patch), scim(413, ""), Disposition::Dead(Class::TooLarge)),
            (up(single(Patch)), plain(599), own(true)),
        ];
        for (situation, outcome, expected) in rows {
            assert_eq!(classify(&situation, &outcome), expected, "{situation:?} {outcome:?}");
        }
    }

    #[test]
    fn every_failure_of_a_whole_bulk_has_its_action() {
        use WholeDisposition as W;
        let rows = [
            (plain(404), W::NoBulk),
            (plain(405), W::NoBulk),
            (scim(501, ""), W::NoBulk),
            (scim(413, ""), W::TooLarge),
            (Outcome::Unknown(Unknown::Timeout), W::Unknown),
            (plain(500), W::Unknown),
            (plain(503), W::Unknown),
            (later(503), W::Busy(Some(Duration::from_secs(7)))),
            (scim(400, ""), W::Halve),
            (plain(403), W::Halve),
            (plain(401), W::Trouble(Trouble::Credentials)),
            (plain(429), W::Busy(None)),
            (plain(301), W::Trouble(Trouble::Redirect)),
            (Outcome::NotSent(NotSent::Connect("x".into())), W::Trouble(Trouble::Down)),
        ];
        for (outcome, expected) in rows {
            assert_eq!(classify_whole(&outcome), expected, "{outcome:?}");
        }
    }

    proptest! {
        #[test]
        fn no_outcome_uses_an_attempt_while_the_target_is_in_doubt(status in 0u16..1000, scim_error: bool, in_bulk: bool) {
            let situation = Situation { in_bulk, ..single(Method::Patch) };
            let answer = Answer { status, scim_error, ..Answer::default() };
            let disposition = classify(&situation, &Outcome::Answered(answer));
            let server_fault = status >= 500 || status == 408;
            let uses_attempt = matches!(disposition, Disposition::Retry { .. } | Disposition::Dead(_));
            prop_assert!(!(server_fault && uses_attempt), "{:?}", disposition);
        }
    }
}
