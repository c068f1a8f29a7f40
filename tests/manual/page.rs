//! One page: its text, and the regions in it that are generated.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the pages.
pub const MAN: &str = "man";

/// The package.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page in `man/`.
pub struct Page {
    path: PathBuf,
    text: String,
}

impl Page {
    #[track_caller]
    pub fn open(name: &str) -> Page {
        let path = root().join(MAN).join(name);
        let text = fs::read_to_string(&path);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Page { path, text }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its generated regions are exactly these, by name and content. With `UPDATE_GOLDEN` set their
    /// content is written instead.
    #[track_caller]
    pub fn holds(&self, regions: &[(&str, String)]) {
        let page = self.path.display();
        let named = self.text.lines().filter_map(|line| line.strip_prefix(BEGIN));
        for name in named {
            assert!(
                regions.iter().any(|(known, _)| *known == name),
                "{page} has a region {name:?} for something that is not there any more: remove it"
            );
        }
        let mut text = self.text.clone();
        for (name, content) in regions {
            let begin = format!("{BEGIN}{name}\n");
            let parts = text.split_once(&begin).and_then(|(before, rest)| {
                // A region that is still empty ends at once.
                let after = match rest.strip_prefix(END) {
                    Some(after) => after,
                    None => rest.split_once(&format!("\n{END}"))?.1,
                };
                Some((before, after))
            });
            let Some((before, after)) = parts else {
                panic!(
                    "{page} has no place for {name:?}: add the lines\n{begin}{END}\nand what has \
                     to be said about it, then UPDATE_GOLDEN=1 cargo test --test manual"
                );
            };
            text = format!("{before}{begin}{content}{END}{after}");
        }
        if text == self.text {
            return;
        }
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&self.path, text).unwrap();
            return;
        }
        let line = self.text.lines().zip(text.lines()).position(|(found, expected)| {
            if found != expected {
                println!("expected {expected:?}\nfound    {found:?}");
            }
            found != expected
        });
        let line = line.map_or_else(|| self.text.lines().count(), |at| at + 1);
        panic!("{page}:{line} is stale: UPDATE_GOLDEN=1 cargo test --test manual");
    }
}

const BEGIN: &str = ".\\\" generated: ";
const END: &str = ".\\\" end";
