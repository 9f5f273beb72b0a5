//! What a target says of a failure, without attribute values: letters and logs hold none (contract s3.1, s6.11).

use serde_json::Value;

use super::path::is_name;

/// What stands for a value.
const LEFT_OUT: &str = "…";
/// Shorter values, and words of values, are no harm, and too common to be left out.
const SHORTEST: usize = 4;

/// The text without the values of `body`, without what is quoted unless it is a name in it, and without words that hold a
/// digit or an `@`. Better a word too few than one too many.
pub fn redacted(text: &str, body: Option<&Value>) -> String {
    let (mut values, mut names) = (Vec::new(), Vec::new());
    if let Some(body) = body {
        collect(body, &mut values, &mut names);
    }
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    let text = values.iter().fold(text.to_owned(), |text, value| without(&text, value));
    let text = without_quoted(&text, &names);
    let words = text.split_whitespace().map(|word| if is_telling(word) { LEFT_OUT } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// Texts and their longer words, in lower case, and the names of attributes.
fn collect(value: &Value, values: &mut Vec<String>, names: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            let words = text.split(|c: char| !c.is_alphanumeric()).map(str::to_owned);
            let all = words.chain([text.clone()]).filter(|word| word.chars().count() >= SHORTEST);
            values.extend(all.map(|word| word.to_lowercase()).filter(|word| !is_of_the_protocol(word)));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, values, names)),
        Value::Object(map) => {
            for (name, value) in map {
                names.push(name.to_lowercase());
                // of a PATCH the names are in its paths
                match (name.as_str(), value) {
                    ("path", Value::String(path)) => {
                        names.extend(path.split(|c: char| !is_name(&c.to_string())).map(str::to_lowercase));
                    }
                    ("schemas" | "op", _) => {}
                    _ => collect(value, values, names),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Words that every message may hold.
fn is_of_the_protocol(word: &str) -> bool {
    ["user", "users", "group", "groups", "value", "attribute", "invalid", "true", "false"].contains(&word)
}

/// Leaves every occurrence out, in any case. `value` is in lower case.
fn without(text: &str, value: &str) -> String {
    let lower = text.to_lowercase();
    // a letter whose lower case has another length would move what follows
    if lower.len() != text.len() || !lower.contains(value) {
        return text.to_owned();
    }
    let (mut kept, mut from) = (String::new(), 0);
    for (at, _) in lower.match_indices(value) {
        kept.push_str(text.get(from..at).unwrap_or_default());
        kept.push_str(LEFT_OUT);
        from = at + value.len();
    }
    kept + text.get(from..).unwrap_or_default()
}

fn without_quoted(text: &str, names: &[String]) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(open) = rest.find(['"', '\'', '`']) {
        let quote = rest[open..].chars().next().unwrap_or('"');
        let Some(length) = rest[open + 1..].find(quote) else { break };
        let inside = &rest[open + 1..open + 1 + length];
        kept.push_str(&rest[..=open]);
        kept.push_str(if names.contains(&inside.to_lowercase()) { inside } else { LEFT_OUT });
        kept.push(quote);
        rest = &rest[open + length + 2..];
    }
    kept + rest
}

fn is_telling(word: &str) -> bool {
    word.contains('@') || word.chars().any(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(text: &str) -> String {
        let body = json!({"userName": "ana.lee@example.com", "title": "Head Clerk", "name": {"familyName": "Lee"},
            "Operations": [{"op": "replace", "path": "phoneNumbers[type eq \"work\"].value", "value": "+49 30 901820"}]});
        redacted(text, Some(&body))
    }

    #[test]
    fn what_is_wrong_is_told_and_the_names_of_attributes_are_kept() {
        assert_eq!(said("attribute 'title' is too long"), "attribute 'title' is too long");
        assert_eq!(said("\"phoneNumbers\" must be E.164"), "\"phoneNumbers\" must be …");
        assert_eq!(said("this user can not be written"), "this user can not be written");
    }

    #[test]
    fn values_are_left_out_in_any_case_and_in_parts() {
        assert_eq!(said("userName ANA.LEE@example.com is taken"), "userName … is taken");
        assert_eq!(said("no head clerk here, clerk"), "no … here, …");
        assert_eq!(said("+49 30 901820 is no number"), "… is no number");
    }

    #[test]
    fn what_somebody_else_is_called_is_left_out_too() {
        assert_eq!(said("conflicts with 'Bo Ek' (bo@example.com, id 4711)"), "conflicts with '…' … id …");
    }

    #[test]
    fn without_a_body_quotes_and_numbers_are_left_out() {
        assert_eq!(redacted("no user \"e-1\" in 7 tenants", None), "no user \"…\" in … tenants");
    }
}
