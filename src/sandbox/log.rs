//! The requests that came in, for tests to look at.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::Serialize;

/// How many requests are remembered.
pub const MAX_REQUESTS: usize = 100_000;

/// One request.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// When it had been read.
    pub at: Timestamp,
    /// The method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The status of the answer; 0: none yet, or none at all.
    pub status: u16,
    /// The bytes of the request's body.
    pub bytes: usize,
    /// How many writes it carried: those of a bulk request, or one.
    pub operations: usize,
}

/// The last [`MAX_REQUESTS`] requests.
#[derive(Debug, Default)]
pub struct RequestLog {
    entries: VecDeque<Entry>,
    first: u64,
}

impl RequestLog {
    /// Notes a request; the number names it.
    pub fn begin(&mut self, entry: Entry) -> u64 {
        if self.entries.len() >= MAX_REQUESTS {
            self.entries.pop_front();
            self.first += 1;
        }
        self.entries.push_back(entry);
        self.first + self.entries.len() as u64 - 1
    }

    /// Notes how it was answered, if it is still known.
    pub fn finish(&mut self, number: u64, status: u16) {
        let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(entry) = at.and_then(|at| self.entries.get_mut(at)) {
            entry.status = status;
        }
    }

    /// All, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.iter().cloned().collect()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.first += self.entries.len() as u64;
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bytes: usize) -> Entry {
        let (at, method, path) = (Timestamp::UNIX_EPOCH, "GET".to_owned(), "/".to_owned());
        Entry { at, method, path, status: 0, bytes, operations: 0 }
    }

    #[test]
    fn only_the_last_ones_are_kept_and_numbers_stay_right() {
        let mut log = RequestLog::default();
        let numbers: Vec<u64> = (0..=MAX_REQUESTS).map(|at| log.begin(entry(at))).collect();
        log.finish(numbers[0], 500);
        log.finish(numbers[1], 201);
        let entries = log.entries();
        assert_eq!(entries.len(), MAX_REQUESTS);
        assert_eq!((entries[0].bytes, entries[0].status), (1, 201));
    }

    #[test]
    fn an_answer_to_a_forgotten_request_changes_nothing() {
        let mut log = RequestLog::default();
        let old = log.begin(entry(1));
        log.clear();
        log.begin(entry(2));
        log.finish(old, 200);
        assert_eq!(log.entries()[0].status, 0);
    }
}
