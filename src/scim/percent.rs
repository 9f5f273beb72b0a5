//! Percent-encoding of path segments and query values (RFC 3986 s2.1): everything but unreserved characters, a blank as `%20`.

use std::fmt::Write;

/// Encodes one path segment or query value.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => write!(encoded, "%{byte:02X}").expect("a String takes everything"),
        }
    }
    encoded
}

/// Decodes; what is no escape stays as it is, what is no UTF-8 afterwards makes the whole text stay as it is.
pub fn decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%').then(|| tail.get(..2).and_then(byte)).flatten();
        decoded.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

fn byte(digits: &[u8]) -> Option<u8> {
    let mut byte = [0];
    hex::decode_to_slice(digits, &mut byte).ok()?;
    Some(byte[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_separators_are_escaped() {
        assert_eq!(encode("a b/c?d%e+f\"ü~"), "a%20b%2Fc%3Fd%25e%2Bf%22%C3%BC~");
    }

    #[test]
    fn decoding_undoes_encoding_and_leaves_what_is_no_escape() {
        for text in ["a b/c?d%e+f\"ü~", "", "100%", "%zz", "%4"] {
            assert_eq!(decode(&encode(text)), text);
        }
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz%2f"), "%zz/");
        assert_eq!(decode("%ff"), "%ff");
    }
}
