//! Small records of JSON in a directory: whole or not there, whatever happens while one is written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The record at `path`, if there is one; more than `most` bytes are not understood.
pub(super) fn read<T: DeserializeOwned>(path: &Path, most: u64) -> io::Result<Option<T>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(most + 1).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if bytes.len() as u64 > most {
        let why = format!("it has more than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(Some(serde_json::from_slice(&bytes)?))
}

/// By way of a file that is new, so that no link leads elsewhere. Durable when it returns.
pub(super) fn write(directory: &Path, name: &str, content: &impl Serialize) -> io::Result<()> {
    let new = directory.join(format!("{name}.new"));
    remove(&new)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&new)?;
    writeln!(file, "{}", serde_json::to_string(content)?)?;
    file.sync_all()?;
    fs::rename(new, directory.join(name))?;
    File::open(directory)?.sync_all()
}

/// No record; it may not have been there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
