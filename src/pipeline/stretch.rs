//! A stretch of a stream: from some place up to what was in it when the reading began. It ends with a mark of the reader's own,
//! since neither counts nor offsets tell a stream's end (design D2).

use std::time::Duration;

use super::letters::Letters;
use super::ports::{Entry, From, PublishError, Publisher, SessionEnded, Stream, StreamReader};
use super::recover::{Mark, gap};

/// A reader that starts behind the last entry does not see a mark from before: it is written again after this silence.
const SILENCE: Duration = Duration::from_secs(5);

/// Why a stream could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// The mark of its end could not be written.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The session that read it ended.
    #[error(transparent)]
    Session(#[from] SessionEnded),
}

/// Which stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Journal,
    Outcomes,
}

/// Reads a stretch.
pub(super) struct Stretch<'a, P, J: Stream> {
    letters: &'a Letters<P>,
    which: Which,
    reader: J::Reader,
    end: Mark,
    last: Option<u64>,
    over: bool,
}

impl<'a, P: Publisher, J: Stream> Stretch<'a, P, J> {
    /// Begins to read `stream` from that place on. `ids` makes names that no other has.
    pub(super) async fn begin(
        letters: &'a Letters<P>,
        (which, stream): (Which, &J),
        from: From,
        ids: fn() -> String,
    ) -> Result<Self, Unread> {
        let end = Mark::End { reading: ids() };
        mark(letters, which, &end).await?;
        let reader = stream.read(from).await?;
        Ok(Self { letters, which, reader, end, last: None, over: false })
    }

    /// The next entries, some of which may be marks; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Entry>>, Unread> {
        if self.over {
            return Ok(None);
        }
        let mut entries = {
            let next = self.reader.next();
            tokio::pin!(next);
            loop {
                tokio::select! {
                    biased;
                    entries = &mut next => break entries?,
                    () = tokio::time::sleep(SILENCE) => mark(self.letters, self.which, &self.end).await?,
                }
            }
        };
        gap(&mut self.last, &entries);
        let end = entries.iter().position(|entry| Mark::read(&entry.message).as_ref() == Some(&self.end));
        if let Some(end) = end {
            self.over = true;
            entries.truncate(end);
        }
        Ok(Some(entries))
    }
}

/// True unless a body can't name this resource: then it need not be parsed.
pub(super) fn may_name(body: &[u8], name: &[u8]) -> bool {
    // an escape may stand for any letter
    body.contains(&b'\\') || body.windows(name.len()).any(|part| part == name)
}

async fn mark<P: Publisher>(letters: &Letters<P>, which: Which, end: &Mark) -> Result<(), PublishError> {
    match which {
        Which::Journal => letters.mark(end).await,
        Which::Outcomes => letters.mark_outcomes(end).await,
    }
}
