//! Bytes as text: words of a transaction, keys on a terminal, hexadecimal, JSON.
//!
//! A word that is printed is read back as the same bytes.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::dbus::client::KvRow;

/// `bytes` as a word: as they are if nothing in them means something else, in quotes if not.
pub fn word(bytes: &[u8]) -> String {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"\"'\\#".contains(c);
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && text.chars().all(plain) => text.to_owned(),
        _ => quoted(bytes),
    }
}

fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                '\n' => out += "\\n",
                '\t' => out += "\\t",
                '\r' => out += "\\r",
                c if c.is_ascii_control() => hex_escape(&mut out, c as u8),
                c if c.is_control() => {
                    c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| hex_escape(&mut out, byte));
                }
                c => out.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| hex_escape(&mut out, *byte));
    }
    out + "\""
}

fn hex_escape(out: &mut String, byte: u8) {
    write!(out, "\\x{byte:02x}").expect("text can be written to");
}

/// The words of a line, without its comment. The error says what is wrong with it.
pub fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut rest = line;
    let mut words = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        let (word, after) = match rest.first() {
            None | Some(b'#') => return Ok(words),
            Some(b'"') => unquote(&rest[1..])?,
            Some(b'\'') => {
                let end = rest[1..].iter().position(|byte| *byte == b'\'');
                let end = end.ok_or("a quote that is not closed")?;
                (rest[1..=end].to_vec(), &rest[end + 2..])
            }
            Some(_) => {
                let ends = |byte: &u8| byte.is_ascii_whitespace();
                let end = rest.iter().position(ends).unwrap_or(rest.len());
                let word = &rest[..end];
                if let Some(byte) = word.iter().find(|byte| b"\"'\\".contains(byte)) {
                    let byte = char::from(*byte);
                    return Err(format!("{byte} inside of a word, expected quotes around it"));
                }
                (word.to_vec(), &rest[end..])
            }
        };
        if after.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
            return Err("a quote that is followed by something, expected a space".to_owned());
        }
        words.push(word);
        rest = after;
    }
}

/// What is in double quotes, and what comes after them.
fn unquote(text: &[u8]) -> Result<(Vec<u8>, &[u8]), String> {
    let mut word = Vec::new();
    let mut at = 0;
    loop {
        let byte = *text.get(at).ok_or("a quote that is not closed")?;
        at += 1;
        match byte {
            b'"' => return Ok((word, &text[at..])),
            b'\\' => {
                let escape = *text.get(at).ok_or("a quote that is not closed")?;
                at += 1;
                word.push(match escape {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'0' => 0,
                    b'"' | b'\\' => escape,
                    b'x' => {
                        let digits = text.get(at..at + 2).and_then(unhex);
                        at += 2;
                        digits.ok_or("\\x without two hexadecimal digits")?[0]
                    }
                    other => {
                        let other = other.escape_ascii();
                        return Err(format!("\\{other}, expected \\\" \\\\ \\n \\t \\r \\0 \\xNN"));
                    }
                });
            }
            byte => word.push(byte),
        }
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("text can be written to");
        out
    })
}

/// The bytes of hexadecimal digits in pairs.
pub fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some((digit(high)? * 16 + digit(low)?) as u8),
        _ => None,
    };
    digits.chunks(2).map(pair).collect()
}

/// A row as JSON: what is no text is in base64, under another name.
pub fn json(row: &KvRow, with_value: bool) -> Value {
    let mut object = Map::new();
    json_bytes(&mut object, "key", &row.key);
    if with_value {
        json_bytes(&mut object, "value", &row.value);
    }
    object.insert("revision".to_owned(), row.revision.into());
    object.insert("created".to_owned(), row.created.into());
    object.into()
}

/// A key that does not exist, as JSON.
pub fn json_absent(key: &[u8]) -> Value {
    let mut object = Map::new();
    json_bytes(&mut object, "key", key);
    object.insert("value".to_owned(), Value::Null);
    object.into()
}

fn json_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), text.into()),
        Err(_) => object.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_as_it_is_printed() {
        let all: Vec<u8> = (0..=255).collect();
        let samples: [&[u8]; 9] =
            [b"", b"lock", b"a b", b"a\"b'c\\", b"#x", b"\n", "é ∅".as_bytes(), b"\xff\xfe", &all];
        for bytes in samples {
            let word = word(bytes);
            assert!(!word.contains('\n') && !word.contains('\x1b'), "{word}");
            assert_eq!(words(word.as_bytes()).unwrap(), [bytes], "{word}");
        }
        for byte in 0..=255_u8 {
            assert_eq!(words(word(&[byte]).as_bytes()).unwrap(), [[byte]]);
        }
        assert_eq!((word(b"lock/1"), word("é".as_bytes())), ("lock/1".to_owned(), "é".to_owned()));
        assert_eq!(word(b"\x1b[2J\xff"), "\"\\x1b[2J\\xff\"");
    }

    #[test]
    fn lines_have_words_quotes_and_comments() {
        let read = |line: &str| {
            let words = words(line.as_bytes()).unwrap();
            words.into_iter().map(|word| String::from_utf8(word).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(read("  put a  'b \"c' # d"), ["put", "a", "b \"c"]);
        assert_eq!(read("put a \"b\\n\\x41#\""), ["put", "a", "b\nA#"]);
        assert_eq!(read("# nothing"), Vec::<String>::new());
        assert_eq!(read("put a#b ''"), ["put", "a#b", ""]);
        for wrong in ["\"a", "'a", "\"a\\", "\"\\q\"", "\"\\x4\"", "\"\\x", "\"a\"b", "a\"b"] {
            assert!(words(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn json_has_text_or_base64() {
        let row = |key: &[u8], value: &[u8]| KvRow {
            key: key.to_vec(),
            value: value.to_vec(),
            revision: 7,
            created: 3,
        };
        let text = json(&row(b"k", "é".as_bytes()), true).to_string();
        assert_eq!(text, r#"{"created":3,"key":"k","revision":7,"value":"é"}"#);
        let text = json(&row(b"\xff", b"\0\xfe"), true).to_string();
        let expected = r#"{"created":3,"key_base64":"/w==","revision":7,"value_base64":"AP4="}"#;
        assert_eq!(text, expected);
        let text = json(&row(b"k", b"v"), false).to_string();
        assert_eq!(text, r#"{"created":3,"key":"k","revision":7}"#);
    }
}
