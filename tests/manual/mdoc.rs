//! Text as mdoc(7) has it.

use std::fmt::Write as _;

/// Text, each sentence on a line of its own, so that it is spaced as one. What looks like an option
/// stays with its minus signs.
pub fn text(line: &str) -> String {
    let lines = sentences(line).into_iter().map(text_line);
    lines.collect::<Vec<_>>().join("\n")
}

fn sentences(line: &str) -> Vec<&str> {
    let (mut found, mut rest) = (Vec::new(), line);
    let begins = |text: &str| text.starts_with(|c: char| c.is_uppercase() || "\"[(".contains(c));
    let end = |rest: &str| {
        let ends = [". ", "? ", "! "].into_iter().flat_map(|end| rest.match_indices(end));
        let mut ends = ends.map(|(at, _)| at + 1).filter(|&at| begins(&rest[at + 1..]));
        ends.next()
    };
    while let Some(at) = end(rest) {
        found.push(&rest[..at]);
        rest = &rest[at + 1..];
    }
    found.push(rest);
    found
}

fn text_line(line: &str) -> String {
    let mut out = escaped(line);
    for before in [" ", "(", "\"", "|"] {
        out = out.replace(&format!("{before}-"), &format!("{before}\\-"));
    }
    out = out.replace("\\--", "\\-\\-").replace("--", "\\-\\-");
    if out.starts_with(['.', '\'']) {
        out.insert_str(0, "\\&");
    }
    match out.strip_prefix('-') {
        Some(rest) => format!("\\-{rest}"),
        None => out,
    }
}

/// A line that is to be copied as it is: every minus is one.
pub fn literal(line: &str) -> String {
    let out = escaped(line).replace('-', "\\-");
    match out.starts_with(['.', '\'']) {
        true => format!("\\&{out}"),
        false => out,
    }
}

/// One argument of a macro. A word such as `No` is not another macro.
pub fn argument(word: &str) -> String {
    let mut out = escaped(word).replace('-', "\\-").replace('"', "\\(dq");
    if out.len() <= 3 && out.starts_with(|c: char| c.is_uppercase()) {
        out.insert_str(0, "\\&");
    }
    match out.contains(' ') || out.is_empty() {
        true => format!("\"{out}\""),
        false => out,
    }
}

/// Paragraphs, with indented lines as displays, as the texts of the command line are written.
/// Each ends as a sentence does.
pub fn prose(out: &mut String, text_: &str) {
    for (at, part) in text_.trim_end().split("\n\n").enumerate() {
        if at > 0 {
            out.push_str(".Pp\n");
        }
        paragraph(out, part);
    }
}

fn paragraph(out: &mut String, part: &str) {
    let mut shown = false;
    for line in part.lines() {
        let indented = line.starts_with("  ");
        if indented != shown {
            out.push_str(if indented { ".Bd -literal -offset indent\n" } else { ".Ed\n" });
            shown = indented;
        }
        match indented {
            true => writeln!(out, "{}", literal(&line[2..])),
            false => writeln!(out, "{}", text(line)),
        }
        .expect("text can be written to");
    }
    if shown {
        out.push_str(".Ed\n");
    }
}

/// One sentence: with a full stop, whoever left it out.
pub fn sentence(line: &str) -> String {
    let line = line.trim();
    let ended = line.ends_with(['.', ':', '?', '!']);
    if ended { line.to_owned() } else { format!("{line}.") }
}

fn escaped(line: &str) -> String {
    line.replace('\\', "\\e")
}

#[test]
fn minus_signs_of_options_stay_and_requests_are_hidden() {
    assert_eq!(text("use --json (-n) or a-b"), "use \\-\\-json (\\-n) or a-b");
    assert_eq!(text("One. Two is 1. 5, e.g. this."), "One.\nTwo is 1. 5, e.g. this.");
    assert_eq!(text(".hidden \\ 'x'"), "\\&.hidden \\e 'x'");
    assert_eq!(literal("a-b"), "a\\-b");
    assert_eq!(argument("a \"b\""), "\"a \\(dqb\\(dq\"");
}

#[test]
fn indented_lines_are_displays() {
    let mut out = String::new();
    prose(&mut out, "Say it.\n\nExample:\n  do -x\n");
    let expected = "Say it.\n.Pp\nExample:\n.Bd -literal -offset indent\ndo \\-x\n.Ed\n";
    assert_eq!(out, expected);
}
