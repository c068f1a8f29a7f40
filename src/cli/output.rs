//! What the command line prints, and how: columns, colours, JSON, and which failure has which exit
//! status.
//!
//! A reader that goes away (`raftctl list | head -1`) never makes it panic: verbs that only show
//! something end quietly, verbs that do something go on and do it ([`Progress`]).

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::args::{Global, Json};
use super::exit::{Exit, Failure};
use crate::dbus::client::ClientError;

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let status = match &error {
            ClientError::NotRunning { .. } | ClientError::NotOnBus { .. } | ClientError::Closed => {
                Exit::NotRunning
            }
            ClientError::NotPermitted { .. } => Exit::NotPermitted,
            ClientError::TimedOut { .. } => Exit::TimedOut,
            ClientError::NotUnderstood { .. } => Exit::Failure,
            ClientError::Refused { name, .. } => match name.as_str() {
                "Stopping" | "Unreachable" => Exit::NotRunning,
                "TransferTimedOut" | "OutcomeUnknown" => Exit::TimedOut,
                "Unavailable" => Exit::NoLeader,
                "TokenMismatch" | "PreconditionFailed" => Exit::Precondition,
                "QuotaExceeded" => Exit::StoreFailed,
                "AccessDenied" | "NotAuthorized" | "InteractiveAuthorizationRequired" => {
                    Exit::NotPermitted
                }
                "InvalidArgument" | "InvalidArgs" | "UnknownMember" | "ForceRequired" => {
                    Exit::Usage
                }
                _ => Exit::Failure,
            },
        };
        let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
        Failure::new(status, format!("{error}{}", source.unwrap_or_default()))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        // Whoever read our output has seen enough.
        let quiet = error.kind() == io::ErrorKind::BrokenPipe;
        let message = if quiet { String::new() } else { format!("cannot print: {error}") };
        Failure::new(if quiet { Exit::Ok } else { Exit::Failure }, message)
    }
}

/// How to print.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// JSON or text.
    pub json: Json,
    /// Column headers and footer.
    pub legend: bool,
    /// Escape sequences for colours.
    pub colour: bool,
}

impl Format {
    /// What the options, the environment and standard output ask for (no-color.org).
    pub fn of_process(global: &Global) -> Format {
        let get = |name: &str| std::env::var(name).ok();
        let colour = colours(io::stdout().is_terminal(), &get);
        Format { json: global.json, legend: !global.no_legend, colour }
    }

    /// `text` in `style`, if there are colours.
    pub fn paint(self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Plain => return text.to_owned(),
            Style::Head => "4",
            Style::Good => "1;32",
            Style::Bad => "1;31",
            Style::Dim => "2",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// `value` as JSON in the mode asked for, with a line feed; `None` when text was asked for.
    pub fn json<T: Serialize>(self, value: &T) -> Option<String> {
        let text = match self.json {
            Json::Off => return None,
            Json::Short => serde_json::to_string(value),
            Json::Pretty => serde_json::to_string_pretty(value),
        };
        Some(text.expect("what we print has only string keys") + "\n")
    }
}

/// Whether there are colours: what SYSTEMD_COLORS says (systemd(1)), else on terminals that have
/// them and without NO_COLOR.
fn colours(terminal: bool, get: &dyn Fn(&str) -> Option<String>) -> bool {
    match get("SYSTEMD_COLORS").as_deref() {
        Some("0" | "no" | "n" | "false" | "f" | "off") => return false,
        Some("1" | "yes" | "y" | "true" | "t" | "on" | "16" | "256" | "24bit") => return true,
        // What is not understood says nothing.
        _ => {}
    }
    let refused = get("NO_COLOR").is_some_and(|value| !value.is_empty());
    terminal && !refused && get("TERM").is_some_and(|term| term != "dumb")
}

/// The look of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// A column header.
    Head,
    /// As it should be.
    Good,
    /// Needs attention.
    Bad,
    /// Unimportant.
    Dim,
}

/// One cell of a table.
#[derive(Clone, Debug)]
pub struct Cell(pub String, pub Style);

impl Cell {
    /// A cell of plain text.
    pub fn plain(text: impl Into<String>) -> Cell {
        Cell(text.into(), Style::Plain)
    }
}

/// Rows under column headers. A header that begins with `>` is for a column aligned to the right.
#[derive(Debug)]
pub struct Table {
    headers: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub fn new(headers: &[&'static str]) -> Table {
        Table { headers: headers.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with one cell for each column.
    pub fn row(&mut self, cells: Vec<Cell>) {
        assert_eq!(cells.len(), self.headers.len(), "a row has one cell for each column");
        self.rows.push(cells);
    }

    /// The lines, columns two apart.
    pub fn render(&self, format: Format) -> String {
        let title = |column: usize| self.headers[column].trim_start_matches('>');
        let widths: Vec<_> = (0..self.headers.len())
            .map(|column| {
                let cells = self.rows.iter().map(|row| width(&row[column].0));
                cells.chain(format.legend.then(|| width(title(column)))).max().unwrap_or(0)
            })
            .collect();
        let mut lines = String::new();
        if format.legend {
            let titles =
                (0..widths.len()).map(|column| Cell(title(column).to_owned(), Style::Head));
            lines += &self.line(titles.collect::<Vec<_>>().as_slice(), &widths, format);
        }
        for row in &self.rows {
            lines += &self.line(row, &widths, format);
        }
        lines
    }

    fn line(&self, cells: &[Cell], widths: &[usize], format: Format) -> String {
        let mut line = String::new();
        for (column, Cell(text, style)) in cells.iter().enumerate() {
            let gap = " ".repeat(widths[column] - width(text));
            let last = column + 1 == cells.len();
            let painted = format.paint(*style, text);
            match (self.headers[column].starts_with('>'), last) {
                (true, _) => line += &format!("{gap}{painted}"),
                (false, false) => line += &format!("{painted}{gap}"),
                (false, true) => line += &painted,
            }
            line += if last { "\n" } else { "  " };
        }
        line
    }
}

/// Columns on a terminal: names and addresses are ASCII, and the star is one column wide.
fn width(text: &str) -> usize {
    text.chars().count()
}

/// A node's role, with the star if it leads.
pub fn role_cell(role: &str, leads: bool) -> Cell {
    if leads { Cell(format!("{role} {STAR}"), Style::Good) } else { Cell::plain(role) }
}

/// Whether a node is active.
pub fn active_cell(active: bool) -> Cell {
    if active { Cell("yes".to_owned(), Style::Good) } else { Cell::plain("no") }
}

/// Nothing to be shown.
pub fn no_cell() -> Cell {
    Cell("-".to_owned(), Style::Dim)
}

/// The beginning of a headline about a cluster and its leader: a dot before, a star behind.
pub fn headline(cluster: &str, leader: Option<&str>, format: Format) -> String {
    let (mark, leader) = match leader {
        Some(leader) => ("●", format.paint(Style::Good, &format!("{leader} {STAR}"))),
        None => ("○", format.paint(Style::Bad, "none")),
    };
    let mark = format.paint(if mark == "●" { Style::Good } else { Style::Bad }, mark);
    format!("{mark} Cluster {cluster}: leader {leader}")
}

/// A moment in microseconds since 1970 as a date. What is later cannot be written as one.
pub fn date(usec: u64) -> String {
    let since_epoch = Duration::from_micros(usec.min(YEAR_9999_USEC));
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since_epoch).to_string()
}

/// Writes `text` to standard output at once.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Tells standard error, each line with the program's name. Nobody is left to be told when that
/// fails.
pub fn complain(text: &str) {
    let mut err = io::stderr().lock();
    for line in text.lines() {
        let _ = writeln!(err, "raftctl: {line}");
    }
}

/// Standard output for a verb that does something: what cannot be printed does not stop the work,
/// and is said when it is done.
#[derive(Debug)]
pub struct Progress<W> {
    out: W,
    failed: Option<io::Error>,
}

impl<W: Write> Progress<W> {
    /// Prints to `out`.
    pub fn new(out: W) -> Progress<W> {
        Progress { out, failed: None }
    }

    /// Whether all was printed, as far as somebody wanted to read it.
    pub fn finish(mut self) -> Result<(), Failure> {
        let _ = self.flush();
        match self.failed {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl<W: Write> Write for Progress<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed.is_none()
            && let Err(error) = self.out.write_all(bytes)
        {
            self.failed = Some(error);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.failed.is_none() {
            self.failed = self.out.flush().err();
        }
        Ok(())
    }
}

/// The leader's mark.
pub const STAR: &str = "★";

/// The last microsecond before the year 10000.
const YEAR_9999_USEC: u64 = 253_402_300_799_999_999;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_unless_somebody_says_otherwise() {
        let with = |terminal, set: &[(&str, &str)]| {
            colours(terminal, &|name| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let term = ("TERM", "xterm");
        assert!(with(true, &[term]) && !with(false, &[term]) && !with(true, &[]));
        assert!(!with(true, &[("TERM", "dumb")]));
        assert!(!with(true, &[term, ("NO_COLOR", "1")]) && with(true, &[term, ("NO_COLOR", "")]));
        assert!(with(false, &[("SYSTEMD_COLORS", "1"), ("NO_COLOR", "1")]));
        assert!(!with(true, &[term, ("SYSTEMD_COLORS", "false")]));
        assert!(with(true, &[term, ("SYSTEMD_COLORS", "perhaps")]));
    }
}
