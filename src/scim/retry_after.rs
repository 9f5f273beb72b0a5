//! When a server says how long to wait: `Retry-After` (RFC 9110 s10.2.3), its relatives, and sentences in bodies.

use std::time::{Duration, SystemTime};

/// The longest wait that is believed.
pub const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Reset headers above this are points in time (seconds since 1970), below it they are seconds from now.
const EPOCH_FROM: u64 = 1_000_000_000;

/// `Retry-After`: seconds, or a date in any of HTTP's three forms. `date` is the answer's own `Date`, so that skewed clocks
/// do not matter; without it `now` counts. Within 0 and [`MAX_WAIT`]; none when it is neither.
pub fn parse(value: &str, date: Option<&str>, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    match value.parse::<f64>() {
        Ok(seconds) if seconds.is_nan() => None,
        Ok(seconds) => Some(Duration::from_secs_f64(seconds.ceil().clamp(0.0, MAX_WAIT.as_secs_f64()))),
        Err(_) => Some(until(httpdate::parse_http_date(value).ok()?, date, now)),
    }
}

/// `RateLimit-Reset` and `X-RateLimit-Reset`: seconds from now, or a point in time in seconds since 1970.
pub fn parse_reset(value: &str, date: Option<&str>, now: SystemTime) -> Option<Duration> {
    let seconds: u64 = value.trim().parse().ok()?;
    match seconds {
        0..EPOCH_FROM => Some(believable(seconds)),
        _ => Some(until(SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?, date, now)),
    }
}

/// Seconds from a number that a server named, at most [`MAX_WAIT`].
pub fn believable(seconds: u64) -> Duration {
    Duration::from_secs(seconds).min(MAX_WAIT)
}

fn until(when: SystemTime, date: Option<&str>, now: SystemTime) -> Duration {
    let server_now = date.and_then(|date| httpdate::parse_http_date(date.trim()).ok()).unwrap_or(now);
    when.duration_since(server_now).unwrap_or(Duration::ZERO).min(MAX_WAIT)
}

/// The seconds that a sentence names: `Retry the request in [12] seconds` (Genesys Cloud). The number right before the
/// first word that begins with `second`.
pub fn seconds_in(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let before = text[..text.find("second")?].trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn at_date(later: u64) -> SystemTime {
        httpdate::parse_http_date(DATE).unwrap() + Duration::from_secs(later)
    }

    #[test]
    fn seconds_and_dates_are_understood_and_clamped() {
        let day = MAX_WAIT.as_secs();
        for (value, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("-5", Some(0)),
            ("1.5", Some(2)),
            ("99999999999999999999", Some(day)),
            ("inf", Some(day)),
            ("NaN", None),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("Sun Nov  6 08:50:37 1994", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Sat, 06 Nov 2094 08:49:37 GMT", Some(day)),
            ("soon", None),
            ("", None),
        ] {
            // our own clock is an hour wrong: the answer's Date counts
            let wait = parse(value, Some(DATE), at_date(3600));
            assert_eq!(wait.map(|wait| wait.as_secs()), seconds, "{value}");
        }
    }

    #[test]
    fn without_a_date_header_our_clock_counts() {
        let wait = parse("Sun, 06 Nov 1994 08:50:37 GMT", None, at_date(10));
        assert_eq!(wait, Some(Duration::from_secs(50)));
    }

    #[test]
    fn a_reset_is_an_age_or_a_point_in_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert_eq!(parse_reset("30", None, now), Some(Duration::from_secs(30)));
        assert_eq!(parse_reset("1800000030", None, now), Some(Duration::from_secs(30)));
        assert_eq!(parse_reset("1800000000123", None, now), Some(MAX_WAIT));
        assert_eq!(parse_reset("later", None, now), None);
    }

    #[test]
    fn a_sentence_can_name_the_seconds() {
        for (text, seconds) in [
            ("Rate limit exceeded the maximum. Retry the request in [12] seconds", Some(12)),
            ("try again in 3 Seconds.", Some(3)),
            ("wait 1 second", Some(1)),
            ("in 30seconds", Some(30)),
            ("a second attempt", None),
            ("in a few seconds", None),
            ("in 5 minutes", None),
            ("", None),
        ] {
            assert_eq!(seconds_in(text), seconds, "{text}");
        }
    }
}
