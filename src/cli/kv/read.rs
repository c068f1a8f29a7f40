//! `raftctl get` and `raftctl keys`.

use std::io::{self, IsTerminal as _, Write as _};

use serde_json::json;

use super::{GetArgs, HexArgs, KeysArgs, ReadArgs, not_found_is_no_failure, of_read, text, usec};
use crate::cli::discover::Found;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{Format, complain};
use crate::cli::password::PasswordAgent;
use crate::dbus::client::{Client, KvRow, block_on};
use crate::dbus::key_value::{Bytes, ReadOptions};
use crate::limits;

/// Prints the value of a key; the exit status tells whether there is one.
pub fn get(
    found: impl FnOnce() -> anyhow::Result<Found>,
    format: Format,
    args: &GetArgs,
) -> anyhow::Result<Exit> {
    let key = args.keys.key(&args.key)?;
    let options = options(&args.read);
    let found = found()?;
    let (row, details) = block_on(async {
        let client = found.connect(None).await?;
        let _asks = PasswordAgent::start(&client);
        client.kv_get(&key, &options).await.map_err(of_read)
    })?;
    let Some(row) = row else {
        if let Some(json) = format.json(&text::json_absent(&key)) {
            write(json.as_bytes())?;
        } else if io::stderr().is_terminal() {
            complain(&format!("no key {}", shown(&key, args.keys)));
        }
        return Ok(Exit::Failure);
    };
    let mut json = text::json(&row, true);
    if args.read.stale {
        json["age_usec"] = json!(details.age_usec);
    }
    if let Some(json) = format.json(&json) {
        write(json.as_bytes())?;
    } else if args.revision {
        write(format!("{}\n", row.revision).as_bytes())?;
    } else {
        // As it is, for whoever reads it; a prompt wants a line of its own.
        let newline = io::stdout().is_terminal() && !row.value.ends_with(b"\n");
        write(&row.value)?;
        write(if newline { b"\n" } else { b"" })?;
    }
    Ok(Exit::Ok)
}

/// Prints keys; the exit status tells whether there are any.
pub fn keys(
    found: impl FnOnce() -> anyhow::Result<Found>,
    format: Format,
    args: &KeysArgs,
) -> anyhow::Result<Exit> {
    let prefix = args.keys.read(&args.prefix)?;
    let after = args.after.as_ref().map(|after| args.keys.read(after)).transpose()?;
    let found = found()?;
    let terminal = io::stdout().is_terminal();
    let mut listing = Listing { args, after, left: args.limit, count: 0, more: false };
    let mut all = Vec::new();
    let is_json = format.json(&()).is_some();
    block_on(async {
        let client = found.connect(None).await?;
        let _asks = PasswordAgent::start(&client);
        while let Some(rows) = listing.next(&client, &prefix).await? {
            match is_json {
                true => all.extend(rows.iter().map(|row| text::json(row, args.values))),
                false => write(&lines(&rows, args, terminal))?,
            }
        }
        Ok::<_, Failure>(())
    })?;
    if let Some(json) = format.json(&json!({ "keys": all, "more": listing.more })) {
        write(json.as_bytes())?;
    } else if listing.more && format.legend {
        let last = listing.after.as_deref().map(|key| shown(key, args.keys)).unwrap_or_default();
        complain(&format!("there are more: --after {last}"));
    }
    Ok(if listing.count == 0 { Exit::Failure } else { Exit::Ok })
}

/// How far a listing is.
struct Listing<'a> {
    args: &'a KeysArgs,
    after: Option<Vec<u8>>,
    /// How many may still be shown.
    left: Option<u32>,
    count: u64,
    /// Whether there are more than were shown.
    more: bool,
}

impl Listing<'_> {
    /// The next page, if there is one and it is wanted.
    async fn next(
        &mut self,
        client: &Client,
        prefix: &[u8],
    ) -> Result<Option<Vec<KvRow>>, Failure> {
        if self.left == Some(0) || self.count > 0 && !self.more {
            return Ok(None);
        }
        let most = limits::KV_PAGE_ROWS_MAX as u32;
        let options = ReadOptions {
            after: self.after.clone().map(Bytes),
            limit: self.left.map(|left| left.min(most)),
            keys_only: Some(!self.args.values),
            ..options(&self.args.read)
        };
        let (rows, more, _) = client.kv_range(prefix, &options).await.map_err(of_read)?;
        let Some(last) = rows.last() else {
            self.more = false;
            return Ok(None);
        };
        (self.after, self.more) = (Some(last.key.clone()), more);
        self.count += rows.len() as u64;
        self.left = self.left.map(|left| left.saturating_sub(rows.len() as u32));
        Ok(Some(rows))
    }
}

fn options(args: &ReadArgs) -> ReadOptions {
    ReadOptions {
        consistency: args.stale.then(|| "stale".to_owned()),
        timeout_usec: usec(args.timeout),
        ..ReadOptions::default()
    }
}

/// One line for each row. Whatever is on a terminal cannot be told from what steers it, so there,
/// and beside values, a key is a word as `txn` has it.
fn lines(rows: &[KvRow], args: &KeysArgs, terminal: bool) -> Vec<u8> {
    let mut lines = Vec::new();
    for row in rows {
        if args.keys.hex || terminal || args.values {
            lines.extend(shown(&row.key, args.keys).into_bytes());
        } else {
            lines.extend(&row.key);
        }
        if args.values {
            lines.extend(format!(" = {}", text::word(&row.value)).into_bytes());
        }
        lines.push(b'\n');
    }
    lines
}

fn shown(key: &[u8], keys: HexArgs) -> String {
    if keys.hex { text::hex(key) } else { text::word(key) }
}

/// Writes to standard output at once.
pub(super) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    written.map_err(|error| not_found_is_no_failure(error.into()))
}
