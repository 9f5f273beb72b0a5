//! Versions of resources as ETags (RFC 7644 s3.14).

/// How ETags are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// `W/"3"`
    #[default]
    Weak,
    /// `"3"`
    Strong,
    /// `3`, as no ETag should be.
    Unquoted,
}

impl Form {
    /// The ETag of a version.
    pub fn of(self, version: u64) -> String {
        match self {
            Form::Weak => format!("W/\"{version}\""),
            Form::Strong => format!("\"{version}\""),
            Form::Unquoted => version.to_string(),
        }
    }
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

    /// Whether `version` fulfils it. Tags are compared as they are, but where they are handed out without quotes these count for
    /// nothing.
    pub fn holds(&self, version: u64, form: Form) -> bool {
        let current = form.of(version);
        let is_current = |tag: &String| match form {
            Form::Weak | Form::Strong => tag == opaque(&current),
            Form::Unquoted => tag.trim_matches('"') == current,
        };
        match self {
            Condition::Any => true,
            Condition::Tags(tags) => tags.iter().any(is_current),
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
            let condition = Condition::parse(text);
            assert_eq!(condition.holds(3, Form::Weak), holds, "{text}");
            assert_eq!(condition.holds(3, Form::Strong), holds, "{text}");
        }
    }

    #[test]
    fn quotes_that_were_not_handed_out_are_not_wanted_back() {
        for text in ["3", "\"3\"", "W/\"3\""] {
            assert!(Condition::parse(text).holds(3, Form::Unquoted), "{text}");
        }
        assert!(!Condition::parse("33").holds(3, Form::Unquoted));
    }
}
