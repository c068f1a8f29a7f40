//! The README as data: the fenced blocks of its sections, and on which host each is to be run.

const README: &str = include_str!("../../README.md");

/// A fenced block: ` ```sh on each host `, its lines, ` ``` `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The first word behind the fence.
    pub language: String,
    /// The other words; empty: what the block shows is not run on hosts.
    pub place: String,
    pub text: String,
}

/// The blocks below the heading `## {heading}`, or all.
pub fn blocks(heading: Option<&str>) -> Vec<Block> {
    let text = match heading {
        Some(heading) => {
            let below = README.split_once(&format!("\n## {heading}\n"));
            let (_, rest) = below.unwrap_or_else(|| panic!("README.md has no {heading:?}"));
            rest.split("\n## ").next().unwrap_or_default()
        }
        None => README,
    };
    let fenced = text.split("\n```").skip(1).step_by(2);
    let block = |part: &str| {
        let (info, text) = part.split_once('\n').unwrap_or((part, ""));
        let (language, place) = info.split_once(' ').unwrap_or((info, ""));
        let text = format!("{text}\n");
        Block { language: language.to_owned(), place: place.to_owned(), text }
    };
    fenced.map(block).collect()
}

/// The blocks of one language below a heading, or everywhere.
pub fn in_language(heading: Option<&str>, language: &str) -> Vec<Block> {
    let mut blocks = blocks(heading);
    blocks.retain(|block| block.language == language);
    assert!(!blocks.is_empty(), "no {language} below {heading:?}");
    blocks
}
