//! From TOML text to located values: sections, keys and where they stand.
//!
//! Reports what is unknown, reserved, of the wrong type or against its grammar, and goes on, so
//! that one run tells everything. It does not know what the keys mean together.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Problem};
use super::keys::{KEYS, Key, Kind, RESERVED, SECTIONS};
use super::timing::show;

mod values;

/// The text being read and what was found wrong with it so far.
pub(super) struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    errors: Vec<ConfigError>,
}

/// One table of the file, with its place.
#[derive(Clone)]
pub(super) struct Section<'a> {
    /// As messages call it: `[cluster]`.
    pub(super) place: String,
    /// The section whose keys it has, in the words of [`KEYS`].
    kind: &'static str,
    at: usize,
    entries: BTreeMap<&'a str, (Range<usize>, &'a Spanned<DeValue<'a>>)>,
}

/// A value and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Field<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

/// Where a value was written, for messages.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    at: usize,
    place: String,
    pub(super) key: String,
    /// The value as written.
    pub(super) source: String,
}

/// A value was given and cannot be used; the reason is already recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bad;

/// A key's value: `Ok(None)` when it is not in the file.
pub(super) type Read<T> = Result<Option<Field<T>>, Bad>;

impl<'t> Reader<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Reader<'t> {
        Reader { file, text, errors: Vec::new() }
    }

    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        self.errors
    }

    /// Records a problem at byte `at`.
    pub(super) fn report(&mut self, at: usize, problem: Problem) {
        let (line, column) = position(self.text, at);
        self.errors.push(ConfigError { file: self.file.to_owned(), line, column, problem });
    }

    /// Records that the value at `origin` is not what was expected.
    pub(super) fn refuse(&mut self, origin: &Origin, expected: impl Into<String>) -> Bad {
        let Origin { at, place, key, source } = origin.clone();
        let expected = expected.into();
        self.report(at, Problem::Invalid { place, key, value: source, expected });
        Bad
    }

    /// Records that `section` lacks `what`.
    pub(super) fn missing(&mut self, section: &Section, what: &str, expected: &str) -> Bad {
        let (place, what, expected) = (section.place.clone(), what.to_owned(), expected.to_owned());
        self.report(section.at, Problem::Missing { place, what, expected });
        Bad
    }

    /// The sections of the file by name, checked for unknown ones.
    pub(super) fn sections<'a>(&mut self, root: &'a DeTable<'a>) -> BTreeMap<&'a str, Section<'a>> {
        let mut sections = BTreeMap::new();
        for (key, value) in root.iter() {
            let (name, at) = (key.get_ref().as_ref(), key.span().start);
            let known = SECTIONS.iter().find(|s| s.name == name);
            match (known, value.get_ref()) {
                (Some(known), DeValue::Table(table)) => {
                    let place = format!("[{name}]");
                    sections.insert(name, Section::new(place, known.name, at, table));
                }
                (Some(_), _) => {
                    let value = excerpt(self.text, value.span(), VALUE_SHOWN_CHARS);
                    self.report(at, Problem::NotSection { name: name.to_owned(), value });
                }
                (None, _) if RESERVED.contains(&name) => {
                    self.report(at, Problem::Reserved { name: name.to_owned() });
                }
                (None, DeValue::Table(_)) => {
                    let known: Vec<String> =
                        SECTIONS.iter().map(|s| format!("[{}]", s.name)).collect();
                    let known: Vec<&str> = known.iter().map(String::as_str).collect();
                    let hint = hint(&format!("[{name}]"), &known);
                    self.report(at, Problem::UnknownSection { name: name.to_owned(), hint });
                }
                (None, _) => self.key_outside(name, at),
            }
        }
        sections
    }

    fn key_outside(&mut self, name: &str, at: usize) {
        let hint = match KEYS.iter().find(|k| k.name == name) {
            Some(key) => format!("it belongs below [{}]", key.section),
            None => "expected keys below a section such as [node]".to_owned(),
        };
        let (name, place) = (name.to_owned(), "outside of any section".to_owned());
        self.report(at, Problem::UnknownKey { name, place, hint });
    }

    /// Reports the keys of `section` that are not in [`KEYS`] and not in `besides`.
    pub(super) fn check_keys(&mut self, section: &Section, besides: &[&'static str]) {
        let of_kind = KEYS.iter().filter(|k| k.section == section.kind).map(|k| k.name);
        let known: Vec<&str> = of_kind.chain(besides.iter().copied()).collect();
        for (name, (span, _)) in &section.entries {
            if known.contains(name) {
                continue;
            }
            let (name, place) = ((*name).to_owned(), format!("in {}", section.place));
            let hint = hint(&name, &known);
            self.report(span.start, Problem::UnknownKey { name, place, hint });
        }
    }

    /// Refuses `key` in `section` if it is there.
    pub(super) fn refuse_key(&mut self, section: &Section, key: &str, expected: &str) {
        if let Some((span, value)) = section.entries.get(key) {
            let origin = Origin { at: span.start, ..self.origin(&section.place, key, value) };
            self.refuse(&origin, expected);
        }
    }

    /// The table `key` of `section`, whose own keys are those of `kind`.
    pub(super) fn table<'a>(
        &mut self,
        section: &Section<'a>,
        key: &str,
        kind: &'static str,
        expected: &str,
    ) -> Result<Option<Section<'a>>, Bad> {
        let Some((span, value)) = section.entries.get(key) else { return Ok(None) };
        let DeValue::Table(table) = value.get_ref() else {
            let origin = self.origin(&section.place, key, value);
            return Err(self.refuse(&origin, expected));
        };
        let place = format!("{}.{key}]", section.place.trim_end_matches(']'));
        Ok(Some(Section::new(place, kind, span.start, table)))
    }

    /// Every entry of `section` as text, with the place of its key; entries of other types are
    /// reported and come as `Err`.
    pub(super) fn texts(
        &mut self,
        section: &Section,
        expected: &str,
    ) -> Vec<Result<Field<String>, Bad>> {
        let entries: Vec<_> = section.entries.iter().map(|(k, (_, v))| (*k, *v)).collect();
        let mut texts = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let origin = self.origin(&section.place, key, value);
            texts.push(match value.get_ref().as_str() {
                Some(text) => Ok(Field { value: text.to_owned(), origin }),
                None => Err(self.refuse(&origin, expected)),
            });
        }
        texts
    }

    /// The value of `key`, read by `parse`; what is expected comes from [`KEYS`].
    pub(super) fn parsed<T>(
        &mut self,
        section: &Section,
        key: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Read<T> {
        let known = Key::find(section.kind, key).expect("keys that are read are in KEYS");
        let Some((_, value)) = section.entries.get(key) else { return Ok(None) };
        let origin = self.origin(&section.place, key, value);
        let bare = match value.get_ref() {
            DeValue::Integer(_) | DeValue::Float(_) => true,
            DeValue::String(text) => text.parse::<f64>().is_ok(),
            _ => false,
        };
        if matches!(known.kind, Kind::Duration | Kind::Size) && bare {
            let expected = format!("{}; a bare number has no unit", known.kind.expected());
            return Err(self.refuse(&origin, expected));
        }
        match value.get_ref().as_str().and_then(parse) {
            Some(value) => Ok(Some(Field { value, origin })),
            None => Err(self.refuse(&origin, known.kind.expected())),
        }
    }

    /// The value of `key` by its `FromStr`.
    pub(super) fn by_from_str<T: FromStr>(
        &mut self,
        section: &Section,
        key: &'static str,
    ) -> Read<T> {
        self.parsed(section, key, |text| text.parse().ok())
    }

    /// A duration with its unit.
    pub(super) fn duration(&mut self, section: &Section, key: &'static str) -> Read<Duration> {
        self.parsed(section, key, |text| humantime::parse_duration(text).ok())
    }

    /// A duration between two limits.
    pub(super) fn duration_within(
        &mut self,
        section: &Section,
        key: &'static str,
        (low, high): (Duration, Duration),
    ) -> Read<Duration> {
        let Some(field) = self.duration(section, key)? else { return Ok(None) };
        if !(low..=high).contains(&field.value) {
            let expected = format!("{} to {}", show(low), show(high));
            return Err(self.refuse(&field.origin, expected));
        }
        Ok(Some(field))
    }

    /// A path, not yet resolved.
    pub(super) fn path(&mut self, section: &Section, key: &'static str) -> Read<PathBuf> {
        // A NUL cannot be part of a path (path_resolution(7)), though TOML can write it.
        let fits = |text: &str| !text.is_empty() && !text.contains('\0');
        self.parsed(section, key, |text| fits(text).then(|| PathBuf::from(text)))
    }

    fn origin(&self, place: &str, key: &str, value: &Spanned<DeValue>) -> Origin {
        let source = excerpt(self.text, value.span(), VALUE_SHOWN_CHARS);
        Origin { at: value.span().start, place: place.to_owned(), key: key.to_owned(), source }
    }
}

impl<'a> Section<'a> {
    fn new(place: String, kind: &'static str, at: usize, table: &'a DeTable<'a>) -> Section<'a> {
        let entry =
            |(key, value): (&'a Spanned<std::borrow::Cow<'a, str>>, &'a Spanned<DeValue<'a>>)| {
                (key.get_ref().as_ref(), (key.span(), value))
            };
        Section { place, kind, at, entries: table.iter().map(entry).collect() }
    }

    /// A section that is not in the file; what it lacks is reported at the file's start.
    pub(super) fn absent(kind: &'static str) -> Section<'a> {
        Section { place: format!("[{kind}]"), kind, at: 0, entries: BTreeMap::new() }
    }

    /// The names of its keys and tables.
    pub(super) fn keys(&self) -> Vec<&'a str> {
        self.entries.keys().copied().collect()
    }

    /// Where its key `key` stands.
    pub(super) fn key_at(&self, key: &str) -> usize {
        self.entries.get(key).map_or(self.at, |(span, _)| span.start)
    }

    /// Where the section itself stands, as an origin for messages about `key` = `source`.
    pub(super) fn origin_of_default(&self, key: &str, source: String) -> Origin {
        Origin { at: self.at, place: self.place.clone(), key: key.to_owned(), source }
    }
}

impl Origin {
    /// The same value at another place.
    pub(super) fn moved_to(&self, at: usize) -> Origin {
        Origin { at, ..self.clone() }
    }

    /// The same place, told about another key.
    pub(super) fn about(&self, key: &str, source: String) -> Origin {
        Origin { key: key.to_owned(), source, ..self.clone() }
    }
}

/// Parses `text`; the errors of its syntax come one for each line.
pub(super) fn parse<'a>(
    reader: &mut Reader<'_>,
    text: &'a str,
) -> Result<Spanned<DeTable<'a>>, Bad> {
    let (root, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(root);
    }
    let mut lines = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let line = position(text, span.start).0;
        if lines.contains(&line) {
            continue;
        }
        lines.push(line);
        let to_line_end = text[span.start..].find('\n').map_or(text.len(), |n| span.start + n);
        let shown = excerpt(text, span.start..span.end.max(to_line_end), VALUE_SHOWN_CHARS);
        // The parser takes a bare word for the beginning of a number.
        let is_word = shown.starts_with(|c: char| c.is_ascii_alphabetic());
        let message = match error.message() {
            message if is_word && message.starts_with("invalid float") => {
                "expected a value; text needs quotes".to_owned()
            }
            message => message.to_owned(),
        };
        let near = if shown.is_empty() { "end of line".to_owned() } else { shown };
        reader.report(span.start, Problem::Syntax { near, message });
    }
    Err(Bad)
}

/// Line and column (in characters), from 1, of byte `at` of `text`.
pub(super) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..at.min(text.len())];
    let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    // Bytes that continue a character are not counted, so this also serves text cut in its middle.
    let column = before[line_start..].iter().filter(|b| **b & 0xc0 != 0x80).count() + 1;
    (line, column)
}

/// The first line of `text[span]`, shortened to `max` characters.
fn excerpt(text: &str, span: Range<usize>, max: usize) -> String {
    let whole = text.get(span).unwrap_or_default();
    let line = whole.lines().next().unwrap_or_default().trim_end();
    let cut: String =
        line.chars().take(max).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if cut.len() < whole.trim_end().len() { format!("{cut}...") } else { cut }
}

/// What to try instead of `name`: the nearest of `known`, or all of them.
fn hint(name: &str, known: &[&str]) -> String {
    let distance = |k: &&&str| strsim::damerau_levenshtein(name, k);
    let nearest = known.iter().min_by_key(distance);
    match nearest {
        Some(near) if strsim::damerau_levenshtein(name, near) <= near.len().div_ceil(3) => {
            let quote = if near.starts_with('[') { "" } else { "\"" };
            format!("did you mean {quote}{near}{quote}?")
        }
        _ => format!("expected one of {}", known.join(", ")),
    }
}

/// Characters of a value that a message repeats.
const VALUE_SHOWN_CHARS: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let text = "a\né = 1\n";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, 2), (2, 1));
        assert_eq!(position(text, text.find('=').unwrap()), (2, 3));
        assert_eq!(position(text, 999), (3, 1));
    }

    #[test]
    fn a_far_name_gets_the_whole_list() {
        assert_eq!(
            hint("electon_min", &["election_min", "heartbeat"]),
            "did you mean \"election_min\"?"
        );
        assert_eq!(hint("colour", &["a", "heartbeat"]), "expected one of a, heartbeat");
    }

    #[test]
    fn excerpts_are_one_short_line() {
        assert_eq!(excerpt("x = 12\n", 4..6, 60), "12");
        assert_eq!(excerpt("'''a\nb'''", 0..9, 60), "'''a...");
        assert_eq!(excerpt("abcdef", 0..6, 3), "abc...");
    }
}
