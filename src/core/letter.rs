//! Classes of dead letters (contract s3.1).

use serde::{Deserialize, Serialize};

macro_rules! classes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why something could not be done. The name is what letters, metrics and filters show.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Class {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Class {
            /// All of them.
            pub const ALL: &[Class] = &[$(Class::$variant,)*];

            /// The name in letters, metrics and filters.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Class::$variant => $name,)*
                }
            }
        }
    };
}

classes! {
    /// No decoder accepts it: not JSON, too large, too deep, no order, no subject.
    Decode = "decode",
    /// A PATCH operation that can't be merged.
    UnsupportedPatch = "unsupported_patch",
    /// Ordered by time alone, and too far ahead.
    FutureTime = "future_time",
    /// Only patches are known, and the `put` never came.
    Incomplete = "incomplete",
    /// The mapping refused it.
    Mapping = "mapping",
    /// The target refused the content (400, 422).
    Invalid = "invalid",
    /// The target refused the write of this resource (403).
    Forbidden = "forbidden",
    /// Configured as never to be written.
    Protected = "protected",
    /// The target does not do this.
    NotSupported = "not_supported",
    /// Larger than the target takes, alone.
    TooLarge = "too_large",
    /// The version kept changing.
    Conflict = "conflict",
    /// It exists, and is not ours to adopt.
    Uniqueness = "uniqueness",
    /// Several resources match.
    AmbiguousMatch = "ambiguous_match",
    /// A member or manager never came into being.
    UnresolvedReference = "unresolved_reference",
    /// Older than what the store and the journal remember.
    StaleUnknown = "stale_unknown",
    /// All attempts are used up.
    Exhausted = "exhausted",
    /// The broker's delivery limit.
    DeliveryLimit = "delivery_limit",
    /// Held, and no operator came.
    HeldExpired = "held_expired",
    /// A defect of the relay.
    Internal = "internal",
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
