//! Versions of resources as weak ETags (RFC 7644 s3.14).

/// The ETag of a version, e.g. `W/"3"`.
pub fn of(version: u64) -> String {
    format!("W/\"{version}\"")
}

/// What a client wants the current version to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `*`: whatever it is.
    Any,
    /// One of these opaque tags, quotes included.
    Tags(Vec<String>),
}

impl Condition {
    /// Reads If-Match, If-None-Match or the `version` of a bulk operation. `W/` counts for nothing: providers of weak ETags can only compare
    /// weakly. What is no ETag matches nothing.
    pub fn parse(text: &str) -> Self {
        if text.trim() == "*" {
            return Condition::Any;
        }
        Condition::Tags(text.split(',').map(|tag| opaque(tag).to_owned()).collect())
    }

    /// Whether `version` fulfils it.
    pub fn holds(&self, version: u64) -> bool {
        match self {
            Condition::Any => true,
            Condition::Tags(tags) => {
                let current = of(version);
                tags.iter().any(|tag| tag == opaque(&current))
            }
        }
    }
}

fn opaque(tag: &str) -> &str {
    let tag = tag.trim();
    tag.strip_prefix("W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_compare_weakly_and_only_as_a_whole() {
        for (text, holds) in [
            ("W/\"3\"", true),
            ("\"3\"", true),
            ("*", true),
            ("\"1\", W/\"3\"", true),
            ("W/\"33\"", false),
            ("3", false),
            ("", false),
        ] {
            assert_eq!(Condition::parse(text).holds(3), holds, "{text}");
        }
    }
}
