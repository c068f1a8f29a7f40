//! Verbs, options and exit statuses, from the definition of a command line.
//!
//! Not clap_mangen: it makes a page for each verb, and a page of verbs only names them.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};
use raftctl::exit::Exit;

use crate::mdoc;

/// Every verb, those below another one too, each with what its `--help` says.
pub fn verbs(command: &Command) -> String {
    let mut out = String::from(".Bl -tag -width Ds\n");
    verbs_below(&mut out, command, "");
    out + ".El\n"
}

fn verbs_below(out: &mut String, command: &Command, path: &str) {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = format!("{path}{}", verb.get_name());
        let words = name.split(' ').map(mdoc::argument).collect::<Vec<_>>().join(" ");
        let below = verb.has_subcommands();
        write!(out, ".It Cm {words}").expect("text can be written to");
        for arg in verb.get_arguments().filter(|arg| is_own(arg)) {
            out.push_str(&synopsis(arg));
        }
        if below {
            out.push_str(" Ar VERB");
        }
        out.push('\n');
        about(out, verb);
        list(out, verb);
        let aliases = verb.get_visible_aliases().collect::<Vec<_>>();
        if !aliases.is_empty() {
            writeln!(out, ".Pp\nAlso called\n.Cm {} .", aliases.join(" , ")).expect("text");
        }
        if let Some(more) = verb.get_after_help() {
            out.push_str(".Pp\n");
            mdoc::prose(out, &more.to_string());
        }
        verbs_below(out, verb, &format!("{name} "));
    }
}

/// What belongs to this verb alone, and is shown.
fn is_own(arg: &Arg) -> bool {
    !arg.is_global_set() && !arg.is_hide_set()
}

fn about(out: &mut String, verb: &Command) {
    let text = verb.get_long_about().or(verb.get_about());
    let text = text.map(ToString::to_string).unwrap_or_default();
    assert!(!text.is_empty(), "the verb {:?} has no text", verb.get_name());
    mdoc::prose(out, &mdoc::sentence(&text));
}

/// ` Oo Fl \-force Oc`, ` Ar NODE`. (`Op` would take in all that follows.)
fn synopsis(arg: &Arg) -> String {
    let mut text = String::new();
    if arg.is_positional() {
        text += &format!("Ar {}", value(arg));
        if matches!(arg.get_action(), ArgAction::Append) {
            text += " ...";
        }
    } else {
        let name = arg.get_long().map(|long| format!("\\-{}", mdoc::argument(long)));
        let short = || arg.get_short().map(String::from);
        text += &format!("Fl {}", name.or_else(short).expect("an option has a name"));
        if arg.get_action().takes_values() {
            text += &format!(" Ar {}", value(arg));
        }
    }
    match arg.is_required_set() {
        true => format!(" {text}"),
        false => format!(" Oo {text} Oc"),
    }
}

fn value(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let names = names.iter().map(|name| mdoc::argument(name)).collect::<Vec<_>>();
    match names.is_empty() {
        true => mdoc::argument(&arg.get_id().as_str().to_uppercase()),
        false => names.join(" "),
    }
}

/// The options of the program itself.
pub fn options(command: &Command) -> String {
    let mut out = String::new();
    let own = command.get_arguments().filter(|arg| !arg.is_hide_set());
    items(&mut out, own);
    for (names, what) in BUILT_IN {
        let known = |arg: &Arg| arg.get_long().is_some_and(|long| names.ends_with(long));
        let version = names.ends_with("version") && command.get_version().is_none();
        if !command.get_arguments().any(known) && !version {
            write!(out, ".It {names}\n{what}\n").expect("text can be written to");
        }
    }
    format!(".Bl -tag -width Ds\n{out}.El\n")
}

/// Those that clap adds to every program.
const BUILT_IN: [(&str, &str); 2] = [
    ("Fl h , Fl \\-help", "Print a help text and exit."),
    ("Fl V , Fl \\-version", "Print the version and exit."),
];

/// What a verb takes, below its text.
fn list(out: &mut String, verb: &Command) {
    let mut entries = String::new();
    items(&mut entries, verb.get_arguments().filter(|arg| is_own(arg)));
    if !entries.is_empty() {
        write!(out, ".Bl -tag -width Ds\n{entries}.El\n").expect("text can be written to");
    }
}

fn items<'a>(out: &mut String, args: impl Iterator<Item = &'a Arg>) {
    for arg in args {
        let short = arg.get_short().map(|short| format!("Fl {short}"));
        let long = arg.get_long().map(|long| format!("Fl \\-{}", mdoc::argument(long)));
        let names = short.into_iter().chain(long).collect::<Vec<_>>().join(" , ");
        let head = match (names.is_empty(), arg.get_action().takes_values()) {
            (true, _) => format!("Ar {}", value(arg)),
            (false, true) => format!("{names} Ar {}", value(arg)),
            (false, false) => names,
        };
        writeln!(out, ".It {head}").expect("text can be written to");
        let text = arg.get_long_help().or(arg.get_help()).map(ToString::to_string);
        let text = text.unwrap_or_default();
        assert!(!text.is_empty(), "the argument {:?} has no text", arg.get_id());
        mdoc::prose(out, &mdoc::sentence(&text));
        notes(out, arg);
    }
}

/// Possible values, default and environment.
fn notes(out: &mut String, arg: &Arg) {
    let default = arg.get_default_values().iter().map(|value| value.to_string_lossy());
    let default = default.collect::<Vec<_>>().join(" ");
    let values = arg.get_possible_values();
    if arg.get_action().takes_values() && !values.is_empty() {
        out.push_str(".Bl -tag -width Ds -compact\n");
        for value in values.iter().filter(|value| !value.is_hide_set()) {
            let help = value.get_help().map(ToString::to_string).unwrap_or_default();
            let preset = if value.get_name() == default { "\nThis is the default." } else { "" };
            let help = if help.is_empty() { help } else { mdoc::text(&mdoc::sentence(&help)) };
            let name = mdoc::argument(value.get_name());
            writeln!(out, ".It Cm {name}\n{}", format!("{help}{preset}").trim_start())
                .expect("text can be written to");
        }
        out.push_str(".El\n");
    } else if arg.get_action().takes_values() && !default.is_empty() {
        writeln!(out, "The default is\n.Ql {} .", mdoc::argument(&default)).expect("text");
    }
    if let Some(name) = arg.get_env() {
        let name = name.to_string_lossy();
        writeln!(out, "Without it, the environment variable\n.Ev {name} .").expect("text");
    }
}

/// The exit statuses that `of` chooses, each with its meaning.
pub fn exits(of: impl Fn(Exit) -> bool) -> String {
    let mut out = String::from(".Bl -tag -width Ds -compact\n");
    for exit in Exit::ALL.into_iter().filter(|exit| of(*exit)) {
        let meaning = mdoc::text(&mdoc::sentence(exit.meaning()));
        writeln!(out, ".It {}\n{}", exit.code(), capital(&meaning)).expect("text");
    }
    out + ".El\n"
}

fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

#[test]
fn a_verb_is_rendered_with_all_it_has() {
    let command = Command::new("x").subcommand(
        Command::new("give-up")
            .about("Give up")
            .visible_alias("yield")
            .after_help("Why not.\n\nExample:\n  x give-up --force n1")
            .arg(Arg::new("force").long("force").action(ArgAction::SetTrue).help("Do it"))
            .arg(Arg::new("node").value_name("NODE").required(true).help("Who")),
    );
    let expected = "\
.Bl -tag -width Ds
.It Cm give\\-up Oo Fl \\-force Oc Ar NODE
Give up.
.Bl -tag -width Ds
.It Fl \\-force
Do it.
.It Ar NODE
Who.
.El
.Pp
Also called
.Cm yield .
.Pp
Why not.
.Pp
Example:
.Bd -literal -offset indent
x give\\-up \\-\\-force n1
.Ed
.El
";
    assert_eq!(verbs(&command), expected);
}

#[test]
#[should_panic(expected = "has no text")]
fn a_verb_without_text_is_refused() {
    verbs(&Command::new("x").subcommand(Command::new("y")));
}
