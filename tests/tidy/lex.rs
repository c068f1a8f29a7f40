//! Rust source as tokens: enough to tell code from comments and strings, and to follow paths.
//!
//! Owns no opinion: the rules are next door. It is not a parser; what it cannot tell apart it
//! keeps as code, so that a rule errs towards a finding.

/// One identifier, number or punctuation sign (`::` is one sign).
#[derive(Debug)]
pub struct Token {
    /// As written.
    pub text: String,
    /// From 1.
    pub line: usize,
    /// Inside an item that only a test build has.
    pub test: bool,
    /// How many `mod x { … }` of this file enclose it.
    pub inline_mods: usize,
}

/// A path as it is after its `use` groups are written out: `a::{b, c}` is `a::b` and `a::c`.
#[derive(Debug)]
pub struct Path {
    /// Its names; `*` for a glob.
    pub segments: Vec<String>,
    /// Line of its first name.
    pub line: usize,
    /// As in [`Token`].
    pub test: bool,
    /// As in [`Token`].
    pub inline_mods: usize,
    /// Whether it is called without arguments.
    pub called_empty: bool,
}

/// The text with comments blanked and strings emptied; line breaks stay where they are.
pub fn mask(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        let is_comment = chars[at] == '/';
        for (offset, &c) in chars[at..end].iter().enumerate() {
            let edge = offset == 0 || offset + 1 == end - at;
            out.push(match c {
                '\n' => '\n',
                _ if edge && !is_comment => '"',
                _ => ' ',
            });
        }
        at = end;
    }
    out
}

/// Where the comment or literal that starts at `at` ends; `at` itself if none starts there.
fn literal_end(chars: &[char], at: usize) -> usize {
    let get = |i: usize| chars.get(i).copied().unwrap_or('\0');
    match (get(at), get(at + 1)) {
        ('/', '/') => (at..chars.len()).find(|&i| chars[i] == '\n').unwrap_or(chars.len()),
        ('/', '*') => block_comment_end(chars, at),
        ('"', _) => quoted_end(chars, at, '"'),
        ('\'', '\\') => quoted_end(chars, at, '\''),
        ('\'', _) if get(at + 2) == '\'' => at + 3,
        ('r', '"' | '#') if at == 0 || !is_name(chars[at - 1]) || is_raw_prefix(chars, at) => {
            raw_end(chars, at)
        }
        _ => at,
    }
}

/// Whether the `r` at `at` belongs to `br"…"` or `cr"…"`.
fn is_raw_prefix(chars: &[char], at: usize) -> bool {
    matches!(chars[at - 1], 'b' | 'c') && (at < 2 || !is_name(chars[at - 2]))
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut i = at;
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                i += 1;
                continue;
            }
        }
        i += 2;
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn quoted_end(chars: &[char], at: usize, quote: char) -> usize {
    let mut i = at + 1;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 1,
            c if c == quote => return i + 1,
            _ => {}
        }
        i += 1;
    }
    chars.len()
}

fn raw_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    let open = at + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return at; // a raw identifier such as r#type
    }
    let closes =
        |i: usize| chars[i] == '"' && chars[i + 1..].iter().take(hashes).all(|&c| c == '#');
    (open + 1..chars.len().saturating_sub(hashes))
        .find(|&i| closes(i))
        .map_or(chars.len(), |i| i + 1 + hashes)
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The tokens of a Rust source text.
pub fn tokens(text: &str) -> Vec<Token> {
    let masked = mask(text);
    let mut out = Vec::new();
    for (number, line) in masked.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let len = if is_name(first) {
                rest.find(|c| !is_name(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let text = rest[..len].to_owned();
            out.push(Token { text, line: number + 1, test: false, inline_mods: 0 });
            rest = rest[len..].trim_start();
        }
    }
    mark_tests(&mut out);
    mark_inline_mods(&mut out);
    out
}

/// Marks every item behind `#[test]` or a `#[cfg(…test…)]` without `not`.
fn mark_tests(tokens: &mut [Token]) {
    let mut at = 0;
    while at < tokens.len() {
        let Some(end) = attribute_end(tokens, at) else {
            at += 1;
            continue;
        };
        let names: Vec<&str> = tokens[at..end].iter().map(|t| t.text.as_str()).collect();
        let plain = names[2] == "test" || names[names.len() - 2] == "test";
        let conditional = names[2] == "cfg" && names.contains(&"test") && !names.contains(&"not");
        if plain || conditional {
            let item_end = item_end(tokens, end);
            tokens[at..item_end].iter_mut().for_each(|t| t.test = true);
        }
        at = end;
    }
}

/// One past the `]` of the attribute that starts at `at`.
fn attribute_end(tokens: &[Token], at: usize) -> Option<usize> {
    let is = |i: usize, what: &str| tokens.get(i).is_some_and(|t| t.text == what);
    if !is(at, "#") || !is(at + 1, "[") {
        return None;
    }
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate().skip(at + 1) {
        match token.text.as_str() {
            "[" => depth += 1,
            "]" => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return Some(i + 1);
        }
    }
    None
}

/// One past the `;` or `}` that ends the item at `at`.
fn item_end(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0i32;
    for (i, token) in tokens.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" => depth -= 1,
            "}" => {
                depth -= 1;
                if depth <= 0 {
                    return i + 1;
                }
            }
            ";" if depth == 0 => return i + 1,
            _ => {}
        }
    }
    tokens.len()
}

fn mark_inline_mods(tokens: &mut [Token]) {
    let mut braces = Vec::new();
    for at in 0..tokens.len() {
        match tokens[at].text.as_str() {
            "{" => braces.push(at >= 2 && tokens[at - 2].text == "mod"),
            "}" => drop(braces.pop()),
            _ => {}
        }
        tokens[at].inline_mods = braces.iter().filter(|&&is_mod| is_mod).count();
    }
}

/// Every path of the source, `use` groups written out.
pub fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].text.starts_with(is_name) {
            at = path_at(tokens, at, &mut Vec::new(), &mut out);
        } else {
            at += 1;
        }
    }
    out
}

/// Reads the path at `at` behind `prefix`; returns where it ends.
fn path_at(tokens: &[Token], at: usize, prefix: &mut Vec<String>, out: &mut Vec<Path>) -> usize {
    let text = |i: usize| tokens.get(i).map_or("", |t| t.text.as_str());
    let depth = prefix.len();
    let mut end = at;
    loop {
        if text(end) == "{" {
            end = group_at(tokens, end, prefix, out);
            break;
        }
        prefix.push(text(end).to_owned());
        end += 1;
        let continues = text(end + 1).starts_with(is_name) || matches!(text(end + 1), "*" | "{");
        if text(end) == "::" && continues {
            end += 1;
            continue;
        }
        let first = &tokens[at];
        out.push(Path {
            segments: prefix.clone(),
            line: first.line,
            test: first.test,
            inline_mods: first.inline_mods,
            called_empty: is_called_empty(tokens, end),
        });
        break;
    }
    prefix.truncate(depth);
    end
}

/// Reads `{a, b::c, …}`; returns one past its `}`.
fn group_at(tokens: &[Token], at: usize, prefix: &mut Vec<String>, out: &mut Vec<Path>) -> usize {
    let mut i = at + 1;
    while i < tokens.len() && tokens[i].text != "}" {
        if tokens[i].text == "as" {
            i += 2; // a new name for what was just read
            continue;
        }
        let starts = tokens[i].text.starts_with(is_name) || tokens[i].text == "*";
        i = if starts { path_at(tokens, i, prefix, out) } else { i + 1 };
    }
    i + 1
}

/// Whether `()` or `::<…>()` follows.
fn is_called_empty(tokens: &[Token], at: usize) -> bool {
    let text = |i: usize| tokens.get(i).map_or("", |t| t.text.as_str());
    let mut i = at;
    if text(i) == "::" && text(i + 1) == "<" {
        let mut depth = 0;
        for (j, token) in tokens.iter().enumerate().skip(i + 1) {
            match token.text.as_str() {
                "<" => depth += 1,
                ">" => depth -= 1,
                _ => continue,
            }
            if depth == 0 {
                i = j + 1;
                break;
            }
        }
    }
    text(i) == "(" && text(i + 1) == ")"
}
