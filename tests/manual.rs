//! The manual pages in `man/`: what can be generated is, and the rest is held to what the programs
//! really have.
//!
//! A page is written by hand, with regions between `.\" generated: NAME` and `.\" end` that come
//! from the definition of the command line, the table of configuration keys and the introspection
//! data of the bus. Regenerate with `UPDATE_GOLDEN=1 cargo test --test manual`. What needs words of
//! a person (each member of the bus, each event and its environment) is looked for in the page, and
//! a test says what has none.

#[path = "manual/bus.rs"]
mod bus;
#[path = "manual/command.rs"]
mod command;
#[path = "manual/config.rs"]
mod config;
#[path = "manual/mdoc.rs"]
mod mdoc;
#[path = "manual/page.rs"]
mod page;

use std::collections::BTreeMap;
use std::process::Command;

use clap::CommandFactory as _;
use raftctl::cli::args::Arguments;
use raftctl::config::EventName;
use raftctl::events::payload::Payload;
use raftctl::exit::Exit;

use page::{MAN, Page, root};

/// Every page of the package.
const PAGES: [&str; 5] =
    ["raftctl.1", "raftctl.toml.5", "org.raftctl.Agent1.5", "raftctl-events.7", "raftctld.8"];

#[test]
fn raftctl_1_is_that_of_the_command_line() {
    let command = Arguments::command();
    Page::open("raftctl.1").holds(&[
        ("verbs", command::verbs(&command)),
        ("options", command::options(&command)),
        ("exit statuses", command::exits(|exit| !exit.is_of_agent())),
    ]);
}

#[test]
fn raftctld_8_is_that_of_the_agent() {
    let of_agent = |exit: Exit| exit.is_of_agent() || exit == Exit::Ok || exit == Exit::Usage;
    Page::open("raftctld.8").holds(&[
        ("options", command::options(&raftctl::daemon::command())),
        ("exit statuses", command::exits(of_agent)),
    ]);
}

#[test]
fn raftctl_toml_5_has_every_key() {
    let regions = [("values", config::values()), ("sections", config::sections())];
    Page::open("raftctl.toml.5").holds(&regions);
}

#[test]
fn org_raftctl_agent1_5_has_every_member() {
    let interfaces = bus::interfaces();
    let page = Page::open("org.raftctl.Agent1.5");
    let regions = interfaces.iter().map(|i| (i.region(), i.synopsis())).collect::<Vec<_>>();
    let errors = ("errors", bus::errors());
    let named = regions.iter().map(|(name, text)| (name.as_str(), text.clone()));
    let named = named.chain([errors]);
    page.holds(&named.collect::<Vec<_>>());
    let lacking = interfaces.iter().flat_map(|interface| interface.without_text(page.text()));
    let lacking = lacking.collect::<Vec<_>>();
    assert!(lacking.is_empty(), "{MAN}/org.raftctl.Agent1.5 lacks text:\n{}", lacking.join("\n"));
}

#[test]
fn raftctl_events_7_has_every_event_and_variable() {
    let page = Page::open("raftctl-events.7");
    page.holds(&[("keys", config::events())]);
    let zero = std::time::Duration::ZERO;
    let payload = Payload::of_ended_agent("main", "n1", None, zero, zero);
    let variables = payload.environment().map(|(name, _)| format!(".It Ev {name}"));
    let events = EventName::ALL.map(|event| format!(".It Sy {event}"));
    let needed = variables.chain(events).collect::<Vec<_>>();
    let items = page.text().lines().filter(|line| line.starts_with(".It "));
    let items = items.filter(|line| line[4..].starts_with("Ev ") || line[4..].starts_with("Sy "));
    let items = items.map(str::to_owned).collect::<Vec<_>>();
    let lacking = needed.iter().filter(|item| !items.contains(item)).collect::<Vec<_>>();
    assert!(lacking.is_empty(), "{MAN}/raftctl-events.7 has no line {lacking:?}");
    let stale = items.iter().filter(|item| !needed.contains(item)).collect::<Vec<_>>();
    assert!(stale.is_empty(), "{MAN}/raftctl-events.7 has lines about nothing: {stale:?}");
}

/// mandoc(1) finds nothing to warn of.
#[test]
fn every_page_is_well_written() {
    if Command::new("mandoc").arg("-Tlint").arg("/dev/null").output().is_err() {
        println!("SKIPPED: the manual is not checked, mandoc is not installed");
        return;
    }
    for name in PAGES {
        let lint = Command::new("mandoc")
            .args(["-Tlint", "-Wwarning"])
            .arg(root().join(MAN).join(name))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&lint.stdout);
        assert!(lint.status.success() && said.is_empty(), "{name}:\n{said}");
    }
}

/// No page is forgotten, by the package or by this test.
#[test]
fn every_page_is_installed() {
    let found = std::fs::read_dir(root().join(MAN)).unwrap();
    let found = found.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut found = found.collect::<Vec<_>>();
    found.sort();
    let mut expected = PAGES;
    expected.sort_unstable();
    assert_eq!(found, expected);
    let installed = std::fs::read_to_string(root().join("debian/raftctl.manpages")).unwrap();
    for name in PAGES {
        assert!(installed.lines().any(|line| line == format!("{MAN}/{name}")), "{name}");
    }
}

/// What a page refers to is there: other pages of ours, and files that the package installs.
#[test]
fn pages_refer_to_pages_that_exist() {
    for name in PAGES {
        for line in Page::open(name).text().lines() {
            let Some(reference) = line.strip_prefix(".Xr ") else { continue };
            let words = reference.split(' ').collect::<Vec<_>>();
            let [title, section, ..] = words[..] else { panic!("{name}: {line:?}") };
            if title.contains("raftctl") {
                let page = format!("{title}.{section}");
                assert!(PAGES.contains(&page.as_str()), "{name} refers to {page}");
            }
        }
    }
}

/// The units, and whoever else names a page, name one that is there.
#[test]
fn units_refer_to_pages_that_exist() {
    let mut seen = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("systemd")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for word in text.split_whitespace() {
            let word = word.trim_start_matches("Documentation=");
            if let Some((title, section)) = word
                .strip_prefix("man:")
                .and_then(|page| page.trim_end_matches(')').split_once('('))
            {
                let page = format!("{title}.{section}");
                assert!(PAGES.contains(&page.as_str()), "{} names {page}", path.display());
                seen.insert(path.clone(), page);
            }
        }
    }
    assert!(seen.len() >= 7, "{seen:?}");
}
