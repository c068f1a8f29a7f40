//! `raftctl cluster logs`: the last lines of each node, and what is added.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::LogsArgs;
use super::place::{LocalCluster, LocalNode};
use crate::core::NodeName;
use crate::exit::Exit;
use crate::limits;

/// Shows the last lines of each node, each with its name if there are several nodes. Ends when
/// nobody reads `out` any more, with `--follow` only then or by a signal.
pub(super) fn run(
    cluster: &LocalCluster,
    args: &LogsArgs,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let nodes = cluster.nodes(args.node.as_ref().map(NodeName::as_str))?;
    match show_all(&nodes, args, out) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Ok),
        shown => Ok(shown.map(|()| Exit::Ok)?),
    }
}

fn show_all(nodes: &[LocalNode], args: &LogsArgs, out: &mut dyn Write) -> io::Result<()> {
    let width = nodes.iter().map(|n| n.name().len()).max().unwrap_or(0);
    let label = |node: &LocalNode| match nodes.len() {
        1 => String::new(),
        _ => format!("{:<width$} | ", node.name()),
    };
    let mut followed = Vec::new();
    for node in nodes {
        let (mut tail, label) = (Tail::new(node.log()), label(node));
        match tail.last(args.lines) {
            Ok(lines) => show(&label, &lines, out)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                writeln!(out, "{} has no log {}", node.name(), node.log().display())?;
            }
            Err(error) => return Err(error),
        }
        followed.push((label, tail));
    }
    out.flush()?;
    if args.follow { follow(&mut followed, out).map(|never| match never {}) } else { Ok(()) }
}

fn follow(followed: &mut [(String, Tail)], out: &mut dyn Write) -> io::Result<Infallible> {
    loop {
        for (label, tail) in followed.iter_mut() {
            show(label, &tail.more()?, out)?;
        }
        out.flush()?;
        thread::sleep(FOLLOW_PAUSE);
    }
}

/// The last `count` lines of `path` from byte `offset` on.
pub(super) fn since(path: &Path, offset: u64, count: usize) -> io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let from = offset.max(length.saturating_sub(limits::CLUSTER_LOG_TAIL_BYTES));
    file.seek(SeekFrom::Start(from))?;
    Ok(last_lines(file, length.saturating_sub(from), count)?.0)
}

fn show(label: &str, lines: &[String], out: &mut dyn Write) -> io::Result<()> {
    lines.iter().try_for_each(|line| writeln!(out, "{label}{line}"))
}

/// A file that is appended to, put aside and begun anew.
struct Tail {
    path: PathBuf,
    /// Number of the file that was read.
    inode: u64,
    /// What was read of it, up to the last end of a line.
    offset: u64,
}

impl Tail {
    fn new(path: PathBuf) -> Tail {
        Tail { path, inode: 0, offset: 0 }
    }

    /// The last `count` lines. Looks back at most `limits::CLUSTER_LOG_TAIL_BYTES`.
    fn last(&mut self, count: usize) -> io::Result<Vec<String>> {
        let mut file = File::open(&self.path)?;
        let meta = file.metadata()?;
        let from = meta.len().saturating_sub(limits::CLUSTER_LOG_TAIL_BYTES);
        file.seek(SeekFrom::Start(from))?;
        let (lines, read) = last_lines(file, meta.len() - from, count)?;
        (self.inode, self.offset) = (meta.ino(), from + read);
        Ok(lines)
    }

    /// The whole lines that came since, at most `limits::CLUSTER_LOG_TAIL_BYTES` at once.
    fn more(&mut self) -> io::Result<Vec<String>> {
        let meta = match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            meta => meta?,
        };
        if meta.ino() != self.inode || meta.len() < self.offset {
            (self.inode, self.offset) = (meta.ino(), 0);
        }
        if meta.len() == self.offset {
            return Ok(Vec::new());
        }
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let (lines, read) = last_lines(file, limits::CLUSTER_LOG_TAIL_BYTES, usize::MAX)?;
        self.offset += read;
        Ok(lines)
    }
}

/// The last `count` whole lines in the next `length` bytes, and how many bytes the whole lines
/// have. A line without its end is left for the next time, unless it alone fills all of `length`.
fn last_lines(file: File, length: u64, count: usize) -> io::Result<(Vec<String>, u64)> {
    let mut reader = BufReader::new(file.take(length));
    let (mut lines, mut read) = (VecDeque::new(), 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        let bytes = reader.read_until(b'\n', &mut line)? as u64;
        let is_whole = line.ends_with(b"\n") || bytes == limits::CLUSTER_LOG_TAIL_BYTES;
        if bytes == 0 || !is_whole {
            return Ok((lines.into(), read));
        }
        read += bytes;
        if lines.len() == count {
            lines.pop_front();
        }
        if count > 0 {
            lines.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
    }
}

const FOLLOW_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_follows_growth_and_a_new_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"a\nb\nc\nhal").unwrap();
        let mut tail = Tail::new(path.clone());
        assert_eq!(tail.last(2).unwrap(), ["b", "c"]);
        assert!(tail.more().unwrap().is_empty());
        file.write_all(b"f\nd\n").unwrap();
        assert_eq!(tail.more().unwrap(), ["half", "d"]);
        fs::rename(&path, directory.path().join("old")).unwrap();
        assert!(tail.more().unwrap().is_empty());
        fs::write(&path, "new\n").unwrap();
        assert_eq!(tail.more().unwrap(), ["new"]);
        fs::write(&path, "x\n").unwrap();
        assert_eq!(tail.more().unwrap(), ["x"]);
    }

    #[test]
    fn counts_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        fs::write(&path, "1\n2\n3\n").unwrap();
        let last = |n| Tail::new(path.clone()).last(n).unwrap();
        assert_eq!(last(9), ["1", "2", "3"]);
        assert_eq!(last(1), ["3"]);
        assert!(last(0).is_empty());
        assert_eq!(since(&path, 2, 9).unwrap(), ["2", "3"]);
        assert!(since(&path, 99, 9).unwrap().is_empty());
    }
}
