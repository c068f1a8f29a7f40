//! `raftctl put` and `raftctl delete`.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;

use serde_json::json;

use super::read::write;
use super::{DeleteArgs, PutArgs, WriteArgs, of_write, usec};
use crate::cli::discover::Found;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{Format, complain};
use crate::cli::password::PasswordAgent;
use crate::dbus::client::{Client, block_on};
use crate::dbus::key_value::WriteOptions;
use crate::limits;

/// Writes a key. Says nothing when it is done.
pub fn put(
    found: impl FnOnce() -> anyhow::Result<Found>,
    format: Format,
    args: &PutArgs,
) -> anyhow::Result<Exit> {
    let key = args.keys.key(&args.key)?;
    let value = value(args)?;
    let options = WriteOptions {
        if_revision: if args.if_absent { Some(0) } else { args.if_revision },
        ..options(&args.write)
    };
    let found = found()?;
    let revision = block_on(async {
        let client = found.connect(None).await?;
        let _asks = PasswordAgent::start(&client);
        client.kv_put(&key, &value, &options).await.map_err(of_write)
    })?;
    if let Some(json) = format.json(&json!({ "revision": revision })) {
        write(json.as_bytes())?;
    }
    Ok(Exit::Ok)
}

fn value(args: &PutArgs) -> anyhow::Result<Vec<u8>> {
    let most = limits::KV_VALUE_MAX_BYTES;
    let (value, source) = match (&args.file, &args.value) {
        (Some(path), _) => {
            let source = path.display().to_string();
            let file = File::open(path).map_err(|error| cannot_read(&source, &error))?;
            (read_up_to(file, most + 1), source)
        }
        (None, Some(value)) if value == "-" => {
            (read_up_to(io::stdin().lock(), most + 1), "standard input".to_owned())
        }
        (None, value) => {
            let value = value.as_ref().map(|value| value.as_bytes().to_vec());
            (Ok(value.unwrap_or_default()), "VALUE".to_owned())
        }
    };
    let value = value.map_err(|error| cannot_read(&source, &error))?;
    if value.len() > most {
        let message = format!("{source} has too many bytes for a value: expected at most {most}");
        return Err(Exit::Usage.because(message));
    }
    Ok(value)
}

/// What is in `source`, but not more than `most` bytes of it.
pub(super) fn read_up_to(source: impl Read, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(most as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn cannot_read(source: &str, error: &io::Error) -> anyhow::Error {
    Exit::Usage.because(format!("cannot read {source}: {error}"))
}

/// Deletes a key, or keys by their beginning; the exit status tells whether there were any.
pub fn delete(
    found: impl FnOnce() -> anyhow::Result<Found>,
    format: Format,
    args: &DeleteArgs,
) -> anyhow::Result<Exit> {
    let key = match &args.key {
        None => Vec::new(),
        Some(key) if args.prefix => match args.keys.read(key)? {
            // Such as that of a variable which is not set.
            empty if empty.is_empty() => {
                return Err(Exit::Usage.because("empty prefix: expected --all for all keys"));
            }
            prefix => prefix,
        },
        Some(key) => args.keys.key(key)?,
    };
    let options = WriteOptions { if_revision: args.if_revision, ..options(&args.write) };
    let found = found()?;
    let deleted = block_on(async {
        let client = found.connect(None).await?;
        let _asks = PasswordAgent::start(&client);
        match args.prefix || args.all {
            true => delete_prefix(&client, &key, &options).await,
            false => {
                let (deleted, _) = client.kv_delete(&key, &options).await.map_err(of_write)?;
                Ok::<_, Failure>(u64::from(deleted))
            }
        }
    })?;
    if let Some(json) = format.json(&json!({ "deleted": deleted })) {
        write(json.as_bytes())?;
    } else if args.prefix || args.all {
        let noun = if deleted == 1 { "key" } else { "keys" };
        write(format!("{deleted} {noun} deleted\n").as_bytes())?;
    }
    Ok(if deleted == 0 { Exit::Failure } else { Exit::Ok })
}

/// As many entries of the log as it takes.
async fn delete_prefix(
    client: &Client,
    prefix: &[u8],
    options: &WriteOptions,
) -> Result<u64, Failure> {
    let mut deleted = 0;
    loop {
        let done = client.kv_delete_prefix(prefix, options).await;
        if done.is_err() && deleted > 0 {
            complain(&format!("{deleted} keys were deleted before it failed"));
        }
        let (count, more, _) = done.map_err(of_write)?;
        deleted += count;
        if !more {
            return Ok(deleted);
        }
    }
}

pub(super) fn options(args: &WriteArgs) -> WriteOptions {
    WriteOptions { token: args.token, timeout_usec: usec(args.timeout), ..WriteOptions::default() }
}
