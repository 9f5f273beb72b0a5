//! Building filters (RFC 7644 s3.4.2.2): equality, joined with `or`. Nothing more: it is what nearly every server understands.

/// A filter that holds when any of the attributes has its value: `(externalId eq "e-1") or (userName eq "ana")`.
/// Each comparison is parenthesised, since some servers get precedence wrong; one alone stands bare, since some servers
/// know no parentheses at all. Empty for no terms.
pub fn any_of<'a>(terms: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let terms: Vec<String> = terms.into_iter().map(|(attribute, value)| equals(attribute, value)).collect();
    match terms.as_slice() {
        [one] => one.clone(),
        several => several.iter().map(|term| format!("({term})")).collect::<Vec<_>>().join(" or "),
    }
}

/// One comparison. The value is a JSON string (RFC 7644 s3.4.2.2), quotes and backslashes escaped.
pub fn equals(attribute: &str, value: &str) -> String {
    format!("{attribute} eq {}", serde_json::Value::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ATTRIBUTES: [&str; 5] = ["externalId", "userName", "displayName", "emails.value", "id"];

    fn assert_parses(filter: &str) {
        let parsed = filter.parse::<scim_v2::filter::Filter>();
        assert!(parsed.is_ok(), "{filter}: {parsed:?}");
    }

    #[test]
    fn one_comparison_stands_bare_and_several_are_parenthesised() {
        assert_eq!(any_of([("userName", "ana")]), r#"userName eq "ana""#);
        assert_eq!(
            any_of([("externalId", "e-1"), ("userName", "ana")]),
            r#"(externalId eq "e-1") or (userName eq "ana")"#
        );
        assert_eq!(any_of([]), "");
    }

    #[test]
    fn a_value_can_not_leave_its_quotes() {
        let filter = any_of([("userName", r#"x" or userName pr or userName eq "\"#)]);
        assert_eq!(filter, r#"userName eq "x\" or userName pr or userName eq \"\\""#);
        assert_parses(&filter);
    }

    proptest! {
        #[test]
        fn every_filter_is_one_by_the_grammar(
            terms in prop::collection::vec((prop::sample::select(&ATTRIBUTES[..]), any::<String>()), 1..6)
        ) {
            assert_parses(&any_of(terms.iter().map(|(attribute, value)| (*attribute, value.as_str()))));
        }
    }
}
