//! What a broken request means: certainly not processed, or nobody knows. Only what is certain counts as not sent.

use std::error::Error;
use std::io;

use rustls::AlertDescription;

use crate::core::outcome::{NotSent, Outcome, Unknown};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// Certainly not processed.
    NotSent(NotSent),
    /// Certainly not processed, and may be sent again on another connection: the server was closing this one (RFC 9113 s8.7).
    Refused,
    /// Perhaps processed.
    Unknown(Unknown),
}

impl From<Failed> for Outcome {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::NotSent(why) => Outcome::NotSent(why),
            Failed::Refused => {
                Outcome::NotSent(NotSent::Connect("the server refused the stream unprocessed".to_owned()))
            }
            Failed::Unknown(why) => Outcome::Unknown(why),
        }
    }
}

/// Reads a client error, from before the answer's status was there.
pub(super) fn classify(error: &reqwest::Error) -> Failed {
    let tls = find::<rustls::Error>(error);
    let at = |why: String| format!("{}: {why}", server(error));
    if error.is_connect() || error.is_builder() {
        return Failed::NotSent(match tls {
            Some(tls) => NotSent::Tls(at(tls.to_string())),
            None => NotSent::Connect(at(reason(error))),
        });
    }
    if let Some(refused) = tls.filter(|tls| rejects_our_certificate(tls)) {
        return Failed::NotSent(NotSent::Tls(at(refused.to_string())));
    }
    if find::<h2::Error>(error).is_some_and(unprocessed) {
        return Failed::Refused;
    }
    Failed::Unknown(if error.is_timeout() { Unknown::Timeout } else { Unknown::Dropped })
}

/// The server that could not be reached, without path, query and credentials.
fn server(error: &reqwest::Error) -> String {
    let url = error.url().filter(|url| url.has_host());
    url.map_or_else(|| "the target".to_owned(), |url| url.origin().ascii_serialization())
}

/// A remote GOAWAY reaches only streams above its last stream id, REFUSED_STREAM promises as much: neither was processed.
fn unprocessed(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_remote() && (error.is_go_away() || refused)
}

/// In TLS 1.3 a server judges the client's certificate only after the client has begun to send. These alerts end the
/// handshake, so that the server never read the request.
fn rejects_our_certificate(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
                | AlertDescription::NoCertificate
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
        )
    )
}

/// The causes below the client's own wrapping, which names the URL, as one line.
pub(super) fn reason(error: &reqwest::Error) -> String {
    let mut causes: Vec<String> = Vec::new();
    for cause in chain(error).skip(1) {
        let cause = cause.to_string();
        if causes.last().is_none_or(|last| !last.ends_with(&cause)) {
            causes.push(cause);
        }
    }
    // the first is hyper's "client error (Connect)"
    let skip = usize::from(causes.len() > 1);
    match causes[skip..].join(": ") {
        none if none.is_empty() => "the request can't be made".to_owned(),
        causes => causes,
    }
}

fn find<E: Error + 'static>(error: &reqwest::Error) -> Option<&E> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

/// An error and its sources. What an [`io::Error`] wraps is not among its sources: it is put in.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}
