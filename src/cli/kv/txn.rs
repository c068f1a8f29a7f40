//! `raftctl txn`: comparisons and steps in lines, done all at once or not at all.
//!
//! ```text
//! if KEY absent | if KEY exists | if KEY = VALUE | if KEY revision N
//! get KEY | put KEY VALUE | delete KEY | delete-prefix PREFIX
//! else
//! get KEY ...
//! ```

use std::fs::File;
use std::io;

use serde_json::json;

use super::read::write;
use super::text::{json, json_absent, word, words};
use super::write::{cannot_read, options, read_up_to};
use super::{TxnArgs, of_write};
use crate::cli::discover::Found;
use crate::cli::exit::Exit;
use crate::cli::output::Format;
use crate::cli::password::PasswordAgent;
use crate::dbus::client::{KvTxn, KvTxnArguments, block_on};
use crate::dbus::key_value::{Bytes, CompareTuple, StepTuple};
use crate::limits;

/// Carries out a transaction; the exit status tells whether its comparisons held.
pub fn run(
    found: impl FnOnce() -> anyhow::Result<Found>,
    format: Format,
    args: &TxnArgs,
) -> anyhow::Result<Exit> {
    // Each byte may be written as four.
    let most = 4 * limits::DBUS_MESSAGE_MAX_BYTES;
    let (bytes, source) = match &args.file {
        Some(path) if path.as_os_str() != "-" => {
            let source = path.display().to_string();
            let file = File::open(path).map_err(|error| cannot_read(&source, &error))?;
            (read_up_to(file, most + 1), source)
        }
        _ => (read_up_to(io::stdin().lock(), most + 1), "standard input".to_owned()),
    };
    let bytes = bytes.map_err(|error| cannot_read(&source, &error))?;
    let Script(txn) = Script::parse(&bytes)
        .map_err(|problem| Exit::Usage.because(format!("{source}:{problem}")))?;
    let found = found()?;
    let done = block_on(async {
        let client = found.connect(None).await?;
        let _asks = PasswordAgent::start(&client);
        client.kv_txn(&txn, &options(&args.write)).await.map_err(of_write)
    })?;
    write(render(&done, format).as_bytes())?;
    Ok(if done.succeeded { Exit::Ok } else { Exit::Precondition })
}

/// What was read, in the words of the lines.
fn render(done: &KvTxn, format: Format) -> String {
    let reads = done.reads.iter().map(|read| match read {
        Ok(row) => json(row, true),
        Err(key) => json_absent(key),
    });
    let value = json!({
        "succeeded": done.succeeded,
        "revision": done.revision,
        "deleted": done.details.deleted,
        "reads": reads.collect::<Vec<_>>(),
    });
    let line = |read: &Result<_, Vec<u8>>| match read {
        Ok(crate::dbus::client::KvRow { key, value, .. }) => {
            format!("{} = {}\n", word(key), word(value))
        }
        Err(key) => format!("{} absent\n", word(key)),
    };
    format.json(&value).unwrap_or_else(|| done.reads.iter().map(line).collect())
}

/// A transaction as lines say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script(pub KvTxnArguments);

impl Script {
    /// Reads lines; the error has the number of the line before it.
    pub fn parse(bytes: &[u8]) -> Result<Script, String> {
        let mut script = Script::default();
        let mut otherwise = false;
        for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            script.line(line, &mut otherwise).map_err(|problem| format!("{number}: {problem}"))?;
        }
        let KvTxnArguments { compare, then, otherwise } = &script.0;
        let compared = compare.iter().map(|(key, _, value, _)| key.0.len() + value.0.len());
        let steps = then.iter().chain(otherwise).map(|(_, key, value)| key.0.len() + value.0.len());
        let (count, bytes) = compared.chain(steps).fold((0, 0), |(n, sum), len| (n + 1, sum + len));
        if count == 0 {
            return Err(" nothing to do, expected steps".to_owned());
        }
        let most = limits::KV_TXN_STEPS_MAX;
        if count > most {
            return Err(format!(" {count} steps and comparisons, expected at most {most}"));
        }
        // What is beside the bytes in a message has room.
        let most = limits::KV_VALUE_MAX_BYTES + limits::KV_TXN_STEPS_MAX * limits::KV_KEY_MAX_BYTES;
        if bytes > most {
            return Err(format!(" {bytes} bytes of keys and values, expected at most {most}"));
        }
        Ok(script)
    }

    fn line(&mut self, line: &[u8], otherwise: &mut bool) -> Result<(), String> {
        let words = words(line)?;
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let KvTxnArguments { compare, then, otherwise: other } = &mut self.0;
        match words.as_slice() {
            [] => {}
            [b"if", rest @ ..] if then.is_empty() && !*otherwise => compare.push(comparison(rest)?),
            [b"if", ..] => return Err("if after a step, expected it before all steps".to_owned()),
            [b"else"] if !*otherwise => *otherwise = true,
            [b"else", ..] => return Err("expected else once, alone on its line".to_owned()),
            words => {
                let step = step(words)?;
                if *otherwise { other.push(step) } else { then.push(step) }
            }
        }
        Ok(())
    }
}

fn comparison(words: &[&[u8]]) -> Result<CompareTuple, String> {
    let empty = Bytes::default;
    let (key, what, value, revision) = match words {
        [key, b"absent"] => (key, "absent", empty(), 0),
        [key, b"exists"] => (key, "exists", empty(), 0),
        [key, b"=", value] => (key, "value", Bytes(value.to_vec()), 0),
        [key, b"revision", number] => {
            let text = std::str::from_utf8(number).ok();
            let number = text.and_then(|text| text.parse().ok());
            (key, "revision", empty(), number.ok_or("revision without a number")?)
        }
        _ => {
            let expected = "absent, exists, = VALUE or revision N";
            return Err(format!("expected: if KEY {expected}"));
        }
    };
    Ok((Bytes(key.to_vec()), what.to_owned(), value, revision))
}

fn step(words: &[&[u8]]) -> Result<StepTuple, String> {
    let (what, key, value): (&str, _, &[u8]) = match words {
        [b"get", key] => ("get", key, b""),
        [b"put", key, value] => ("put", key, value),
        [b"delete", key] => ("delete", key, b""),
        [b"delete-prefix", prefix] => ("delete-prefix", prefix, b""),
        _ => {
            return Err("expected if, get KEY, put KEY VALUE, delete KEY, delete-prefix PREFIX \
                        or else"
                .to_owned());
        }
    };
    Ok((what.to_owned(), Bytes(key.to_vec()), Bytes(value.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Bytes {
        Bytes(text.as_bytes().to_vec())
    }

    #[test]
    fn lines_are_comparisons_and_steps() {
        let text = "# take the lock\nif lock absent\nif a = \"b c\"\nif n revision 7\nif e exists\n\
                    put lock n1\ndelete old\ndelete-prefix tmp/\n\nelse\n  get lock\n";
        let Script(txn) = Script::parse(text.as_bytes()).unwrap();
        let compare = |key: &str, what: &str, value: &str, revision| {
            (bytes(key), what.to_owned(), bytes(value), revision)
        };
        let step = |what: &str, key: &str, value: &str| (what.to_owned(), bytes(key), bytes(value));
        let expected = [
            compare("lock", "absent", "", 0),
            compare("a", "value", "b c", 0),
            compare("n", "revision", "", 7),
            compare("e", "exists", "", 0),
        ];
        assert_eq!(txn.compare, expected);
        let expected = [
            step("put", "lock", "n1"),
            step("delete", "old", ""),
            step("delete-prefix", "tmp/", ""),
        ];
        assert_eq!(txn.then, expected);
        assert_eq!(txn.otherwise, [step("get", "lock", "")]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, line, part) in [
            ("get a\nif a absent", "2: ", "before all steps"),
            ("else\nelse\n", "2: ", "once"),
            ("\n\nput a", "3: ", "put KEY VALUE"),
            ("if a is b", "1: ", "if KEY absent"),
            ("if a revision x", "1: ", "number"),
            ("put a \"b", "1: ", "not closed"),
            ("increment a", "1: ", "expected if, get KEY"),
            ("# nothing\n", " ", "nothing to do"),
        ] {
            let error = Script::parse(text.as_bytes()).unwrap_err();
            assert!(error.starts_with(line) && error.contains(part), "{text:?}: {error}");
        }
        let many = "get a\n".repeat(limits::KV_TXN_STEPS_MAX + 1);
        assert!(Script::parse(many.as_bytes()).unwrap_err().contains("129 steps"));
    }
}
