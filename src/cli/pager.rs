//! Long output through a pager, as systemctl(1) has it: only on a terminal, and only what shows
//! something. A pager that cannot be run costs nothing: the text is then printed.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::{Command, Stdio};

use super::args::{Global, Json};
use super::exit::Failure;
use super::output::print;

/// Whether to use a pager, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paging(Option<Vec<String>>);

/// What decides it.
struct Environment<'a> {
    terminal: bool,
    /// Whether somebody else than the user pays: sudo(8).
    sudo: bool,
    get: &'a dyn Fn(&str) -> Option<String>,
}

impl Paging {
    /// What the options, the environment and standard output ask for.
    pub fn of_process(global: &Global) -> Paging {
        let get = |name: &str| std::env::var(name).ok();
        let environment = Environment {
            terminal: io::stdout().is_terminal() && io::stdin().is_terminal(),
            sudo: get("SUDO_UID").is_some(),
            get: &get,
        };
        match global.no_pager || global.json != Json::Off {
            true => Paging(None),
            false => Paging::of(&environment),
        }
    }

    fn of(environment: &Environment<'_>) -> Paging {
        if !environment.terminal || (environment.get)("TERM").is_none_or(|term| term == "dumb") {
            return Paging(None);
        }
        let named = (environment.get)("SYSTEMD_PAGER").or_else(|| (environment.get)("PAGER"));
        let words = named.unwrap_or_else(|| "less".to_owned());
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        match words.first().map(String::as_str) {
            None | Some("cat") => Paging(None),
            // Another pager may have a shell in it, which would be root's.
            Some(pager) if environment.sudo && pager != "less" => Paging(None),
            Some(_) => Paging(Some(words)),
        }
    }

    /// Prints `text`, through the pager if there is one.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let Some((program, arguments)) = self.0.as_ref().and_then(|words| words.split_first())
        else {
            return print(text);
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped());
        let options = std::env::var("SYSTEMD_LESS").unwrap_or_else(|_| LESS.to_owned());
        command.env("LESS", options).env("LESSSECURE", "1");
        let Ok(mut child) = command.spawn() else { return print(text) };
        if let Some(mut input) = child.stdin.take() {
            // Whoever leaves the pager has seen enough.
            let _ = input.write_all(text.as_bytes());
        }
        // Until it ends, the terminal is the pager's.
        let _ = child.wait();
        Ok(())
    }
}

/// As systemd's: quit if it fits, raw colours, no wrapping, keep the screen, show more with status,
/// and let an interrupt end it.
const LESS: &str = "FRSXMK";

#[cfg(test)]
mod tests {
    use super::*;

    fn of(terminal: bool, sudo: bool, set: &[(&str, &str)]) -> Option<Vec<String>> {
        let get = |name: &str| {
            let found = set.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Paging::of(&Environment { terminal, sudo, get: &get }).0
    }

    #[test]
    fn a_pager_is_for_terminals_and_for_those_who_want_one() {
        let term = ("TERM", "xterm");
        let words = |text: &str| Some(text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(of(true, false, &[term]), words("less"));
        assert_eq!(of(true, false, &[term, ("PAGER", "more -d")]), words("more -d"));
        let both = [term, ("PAGER", "more"), ("SYSTEMD_PAGER", "most")];
        assert_eq!(of(true, false, &both), words("most"));
        for off in ["", "cat", "  "] {
            assert_eq!(of(true, false, &[term, ("SYSTEMD_PAGER", off)]), None, "{off:?}");
        }
        assert_eq!(of(false, false, &[term]), None);
        assert_eq!(of(true, false, &[("TERM", "dumb")]), None);
        assert_eq!(of(true, false, &[]), None);
        assert_eq!(of(true, true, &[term, ("PAGER", "vim -")]), None, "it would run as root");
        assert_eq!(of(true, true, &[term]), words("less"));
    }
}
