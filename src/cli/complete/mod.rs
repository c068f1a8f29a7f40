//! `raftctl __complete -- WORD…`: what can stand in place of the last word. The scripts of bash,
//! zsh and fish in `completions/` ask this, so that they know every verb and option of this very
//! program, and the nodes and units of this host.
//!
//! One candidate on each line, a tab, and what it is; `:files` or `:directories` where the shell
//! knows better. Never fails and never waits long: no candidates are better than a terminal that
//! hangs.

mod names;

use std::collections::BTreeMap;

use clap::{Arg, Command, ValueHint};

pub use names::Host;

/// Arguments of `__complete`.
#[derive(Clone, Debug, clap::Args)]
pub struct CompleteArgs {
    /// The command line up to the cursor; the last word is the one to complete.
    #[arg(value_name = "WORD", trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

/// Names that only this host knows.
pub trait Names {
    /// Nodes of the cluster.
    fn nodes(&self) -> Vec<String>;
    /// Units that could join; those that have joined if `attached`.
    fn units(&self, attached: bool) -> Vec<String>;
    /// Keys of the store that begin with `prefix`.
    fn keys(&self, prefix: &str) -> Vec<String>;
}

/// What can follow, in order, each with what it is.
pub fn candidates(mut command: Command, words: &[String], names: &dyn Names) -> Vec<String> {
    command.build();
    let Some((current, before)) = words.split_last() else { return Vec::new() };
    let mut state = State::new(&command);
    before.iter().skip(1).for_each(|word| state.read(word));
    state.complete(current, names)
}

/// How far a command line has been read.
struct State<'a> {
    command: &'a Command,
    /// The option whose value comes next.
    pending: Option<&'a Arg>,
    /// How many positional arguments of this command were read.
    positional: usize,
    /// Whether options are over.
    only_values: bool,
}

impl<'a> State<'a> {
    fn new(command: &'a Command) -> State<'a> {
        State { command, pending: None, positional: 0, only_values: false }
    }

    fn read(&mut self, word: &str) {
        if self.pending.is_some() {
            // bash takes an equals sign for a word.
            if word != "=" {
                self.pending = None;
            }
            return;
        }
        match word {
            "--" if !self.only_values => self.only_values = true,
            option if !self.only_values && option.starts_with('-') && option.len() > 1 => {
                if !option.contains('=') {
                    self.pending = self.option(option).filter(|arg| takes_value(arg));
                }
            }
            word => match self.command.find_subcommand(word) {
                Some(command) if self.positional == 0 && !self.only_values => {
                    (self.command, self.positional) = (command, 0);
                }
                _ => self.positional += 1,
            },
        }
    }

    fn option(&self, word: &str) -> Option<&'a Arg> {
        let mut all = self.command.get_arguments();
        match word.strip_prefix("--") {
            Some(long) => all.find(|arg| arg.get_long() == Some(long)),
            None => {
                let short = word.chars().next_back();
                all.find(|arg| arg.get_short() == short)
            }
        }
    }

    fn complete(&self, current: &str, names: &dyn Names) -> Vec<String> {
        if let Some(arg) = self.pending {
            let current = if current == "=" { "" } else { current };
            return self.values(arg, "", current, names);
        }
        if let Some((option, value)) = current.split_once('=')
            && !self.only_values
            && let Some(arg) = self.option(option)
        {
            return self.values(arg, &format!("{option}="), value, names);
        }
        let mut found = Vec::new();
        let dashes = current.starts_with('-') && !self.only_values;
        let visible = self.command.get_arguments().filter(|arg| !arg.is_hide_set());
        if dashes {
            for arg in visible {
                if let Some(long) = arg.get_long() {
                    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                    push(&mut found, &format!("--{long}"), &help, current);
                }
            }
            return found;
        }
        if self.positional == 0 && !self.only_values {
            for verb in self.command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
                let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
                push(&mut found, verb.get_name(), &about, current);
            }
        }
        let mut positionals = self.command.get_positionals();
        // The last one may take all the rest.
        let here = positionals.nth(self.positional).or_else(|| {
            let last = self.command.get_positionals().last();
            last.filter(|arg| arg.get_num_args().is_some_and(|count| count.max_values() > 1))
        });
        if let Some(arg) = here {
            found.extend(self.values(arg, "", current, names));
        }
        found
    }

    /// The values of `arg` that begin with `current`, each after `prefix`.
    fn values(&self, arg: &Arg, prefix: &str, current: &str, names: &dyn Names) -> Vec<String> {
        let mut found = Vec::new();
        let possible = arg.get_possible_values();
        for value in possible.iter().filter(|value| !value.is_hide_set()) {
            let help = value.get_help().map(ToString::to_string).unwrap_or_default();
            push(&mut found, value.get_name(), &help, current);
        }
        if possible.is_empty() {
            let value_name = arg.get_value_names().and_then(|names| names.first());
            let attached = self.command.get_name() == "detach";
            let (all, what) = match value_name.map(|name| name.as_str()) {
                Some("NODE" | "NAME") => (names.nodes(), "node"),
                Some("UNIT") => (names.units(attached), "unit"),
                Some("KEY" | "PREFIX") => (names.keys(current), "key"),
                Some("FILE") => return vec![":files".to_owned()],
                Some("DIR") => return vec![":directories".to_owned()],
                _ if arg.get_value_hint() == ValueHint::FilePath => {
                    return vec![":files".to_owned()];
                }
                _ => return found,
            };
            all.iter().for_each(|name| push(&mut found, name, what, current));
        }
        found.into_iter().map(|line| format!("{prefix}{line}")).collect()
    }
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|count| count.takes_values())
}

/// Adds `name` if it begins with `current`. Neither may disturb the form of the line.
fn push(found: &mut Vec<String>, name: &str, help: &str, current: &str) {
    let clean = |text: &str| !text.contains(|c: char| c.is_control());
    if name.starts_with(current) && clean(name) {
        let help = help.lines().next().unwrap_or_default().replace('\t', " ");
        found.push(format!("{name}\t{help}"));
    }
}

/// The values of the options in `words` that say which agents, and whose units, are meant.
pub fn chosen(words: &[String]) -> BTreeMap<&'static str, String> {
    let mut chosen = BTreeMap::new();
    for name in ["--config", "--runtime-directory", "--root"] {
        let with = format!("{name}=");
        let next = |at: usize| words.get(at + 1).filter(|word| *word != "=").or(words.get(at + 2));
        let value = words.iter().enumerate().find_map(|(at, word)| match word {
            word if word == name => next(at).cloned(),
            word => word.strip_prefix(&with).map(str::to_owned),
        });
        if let Some(value) = value {
            chosen.insert(name, value);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Names for Fixed {
        fn nodes(&self) -> Vec<String> {
            ["n1", "n2", "db1"].map(str::to_owned).to_vec()
        }

        fn units(&self, attached: bool) -> Vec<String> {
            let all: &[&str] =
                if attached { &["nginx.service"] } else { &["nginx.service", "a@b"] };
            all.iter().map(|unit| (*unit).to_owned()).collect()
        }

        fn keys(&self, _prefix: &str) -> Vec<String> {
            ["lock/a", "lock/b"].map(str::to_owned).to_vec()
        }
    }

    fn at(line: &str) -> Vec<String> {
        let command = <crate::cli::args::Arguments as clap::CommandFactory>::command();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let found = candidates(command, &words, &Fixed);
        found.iter().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn verbs_options_and_values_are_those_of_the_program() {
        assert_eq!(at("raftctl ma"), ["maintenance"]);
        assert_eq!(at("raftctl maintenance o"), ["on", "off"]);
        assert_eq!(at("raftctl maintenance on n"), ["n1", "n2"]);
        assert_eq!(at("raftctl maintenance on n1 "), Vec::<String>::new());
        assert_eq!(at("raftctl cluster k"), ["kill"]);
        assert_eq!(at("raftctl attach --on "), ["leader", "follower"]);
        assert_eq!(at("raftctl attach --on=f"), ["--on=follower"]);
        assert_eq!(at("raftctl attach --on = f"), ["follower"]);
        assert_eq!(at("raftctl attach --on ="), ["leader", "follower"]);
        assert_eq!(at("raftctl attach n"), ["nginx.service"]);
        assert_eq!(at("raftctl attach --on leader a"), ["a@b"]);
        assert_eq!(at("raftctl detach "), ["nginx.service"]);
        assert_eq!(
            at("raftctl detach --n"),
            ["--now", "--node", "--no-pager", "--no-ask-password", "--no-legend"]
        );
        assert_eq!(at("raftctl --json=p"), ["--json=pretty"]);
        assert_eq!(at("raftctl -n d"), ["db1"]);
        assert_eq!(at("raftctl status -n d"), ["db1"]);
        assert_eq!(at("raftctl --config "), [":files"]);
        assert_eq!(at("raftctl config check a.toml "), [":files"]);
        assert_eq!(at("raftctl --runtime-directory=x"), [":directories"]);
        assert_eq!(at("raftctl monitor --event q"), ["quorum"]);
        assert_eq!(at("raftctl wait --for a"), ["active"]);
        assert_eq!(at("raftctl log-level d"), ["debug"]);
    }

    #[test]
    fn keys_are_completed_wherever_one_is_wanted() {
        assert_eq!(at("raftctl get l"), ["lock/a", "lock/b"]);
        assert_eq!(at("raftctl put lock/b"), ["lock/b"]);
        assert_eq!(at("raftctl put lock/b l"), Vec::<String>::new());
        assert_eq!(at("raftctl keys --after lock/a"), ["lock/a"]);
        assert_eq!(at("raftctl delete --prefix x"), Vec::<String>::new());
        assert_eq!(at("raftctl txn "), [":files"]);
        assert_eq!(at("raftctl put k --file "), [":files"]);
    }

    #[test]
    fn everything_visible_and_nothing_hidden_is_offered() {
        let verbs = at("raftctl ");
        assert!(verbs.contains(&"status".to_owned()) && verbs.len() > 15, "{verbs:?}");
        assert!(!verbs.iter().any(|verb| verb.starts_with('_')), "{verbs:?}");
    }

    #[test]
    fn nonsense_is_completed_with_nothing() {
        for line in
            ["raftctl frobnicate x y z", "raftctl --nothing=", "raftctl -", "", "\u{0}", "x"]
        {
            at(line);
        }
        assert!(candidates(clap::Command::new("x"), &[], &Fixed).is_empty());
        assert_eq!(at("raftctl -- n"), Vec::<String>::new());
    }

    #[test]
    fn the_agents_that_are_meant_are_known() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(chosen(&words("raftctl --config x status"))["--config"], "x");
        assert_eq!(chosen(&words("raftctl --config = x status"))["--config"], "x");
        assert_eq!(chosen(&words("raftctl --runtime-directory=/r"))["--runtime-directory"], "/r");
        assert!(chosen(&words("raftctl --config")).is_empty());
    }
}
