//! The interfaces on the bus, from the committed introspection data in `dbus/`.

use std::fmt::Write as _;
use std::fs;

use crate::mdoc;
use crate::page::root;

/// One interface of ours.
pub struct Interface {
    pub name: String,
    members: Vec<Member>,
}

struct Member {
    kind: Kind,
    name: String,
    /// Of a property.
    type_: String,
    /// `true`, `false`, `const`: when a property is announced.
    changes: String,
    arguments: Vec<Argument>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Method,
    Signal,
    Property,
}

struct Argument {
    name: String,
    type_: String,
    direction: String,
}

/// All interfaces in `dbus/*.xml` but those that D-Bus itself defines, each once, by name.
pub fn interfaces() -> Vec<Interface> {
    let mut found: Vec<Interface> = Vec::new();
    for entry in fs::read_dir(root().join("dbus")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "xml") {
            found.extend(parse(&fs::read_to_string(&path).unwrap()));
        }
    }
    found.retain(|interface| !interface.name.starts_with("org.freedesktop.DBus"));
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.dedup_by(|a, b| a.name == b.name);
    assert!(!found.is_empty(), "no interface was found in dbus/");
    found
}

fn parse(xml: &str) -> Vec<Interface> {
    let mut found: Vec<Interface> = Vec::new();
    for tag in xml.split('<').skip(1).filter_map(|rest| rest.split('>').next()) {
        let attribute = |name: &str| {
            let value = tag.split_once(&format!(" {name}=\"")).and_then(|(_, v)| v.split_once('"'));
            value.map(|(value, _)| value.to_owned()).unwrap_or_default()
        };
        let name = attribute("name");
        let word = tag.split(|c: char| c.is_whitespace() || c == '/').next().unwrap_or_default();
        let kind = match word {
            "interface" => {
                found.push(Interface { name, members: Vec::new() });
                continue;
            }
            "method" => Kind::Method,
            "signal" => Kind::Signal,
            "property" => Kind::Property,
            _ => {
                let members = found.last_mut().map(|interface| &mut interface.members);
                let Some(member) = members.and_then(|members| members.last_mut()) else { continue };
                let (type_, direction) = (attribute("type"), attribute("direction"));
                if word == "arg" {
                    member.arguments.push(Argument { name, type_, direction });
                } else if word == "annotation" && name.ends_with(".EmitsChangedSignal") {
                    member.changes = attribute("value");
                }
                continue;
            }
        };
        let interface = found.last_mut().expect("a member is inside of an interface");
        let (type_, changes) = (attribute("type"), "true".to_owned());
        interface.members.push(Member { kind, name, type_, changes, arguments: Vec::new() });
    }
    found
}

impl Interface {
    /// The name of its region in the page.
    pub fn region(&self) -> String {
        format!("interface {}", self.name)
    }

    /// The interface as it is shown, in the manner of systemd's own pages.
    pub fn synopsis(&self) -> String {
        let mut out = format!(".Bd -literal\ninterface {} {{\n", self.name);
        for (kind, title) in
            [(Kind::Method, "methods"), (Kind::Signal, "signals"), (Kind::Property, "properties")]
        {
            let mut of_kind = self.members.iter().filter(|m| m.kind == kind).peekable();
            if of_kind.peek().is_some() {
                writeln!(out, "  {title}:").expect("text can be written to");
                of_kind.for_each(|member| member.show(&mut out));
            }
        }
        out + "};\n.Ed\n"
    }

    /// Its members about which `page` has no item, as the lines that are expected; and items that
    /// are about no member.
    pub fn without_text(&self, page: &str) -> Vec<String> {
        let below = format!(".Sh {}\n", self.heading());
        let own = page.split_once(&below).map(|(_, rest)| rest).unwrap_or_default();
        let own = own.split("\n.Sh ").next().unwrap_or_default();
        let is_member = |name: &str| self.members.iter().any(|member| member.name == name);
        let stale = own.lines().filter(|line| {
            let name = line.strip_prefix(".It Fn ").or(line.strip_prefix(".It Va "));
            name.is_some_and(|name| !is_member(name))
        });
        let stale = stale.map(|line| format!("{line:?} is about nothing"));
        let items = self.members.iter().map(|member| {
            let (name, macro_) =
                (&member.name, if member.kind == Kind::Property { "Va" } else { "Fn" });
            format!(".It {macro_} {name}")
        });
        let described = |item: &String| {
            let mut rest = own.lines().skip_while(|line| line != item).skip(1);
            rest.next().is_some_and(|line| !line.starts_with(".It") && line != ".El")
        };
        let lacking = items.filter(|item| !described(item));
        let lacking = lacking.map(|item| format!("{item:?} and text below {:?}", below.trim_end()));
        lacking.chain(stale).collect()
    }

    /// `THE NODE INTERFACE` for `org.raftctl.Agent1.Node`.
    fn heading(&self) -> String {
        let last = self.name.rsplit('.').next().unwrap_or_default();
        format!("THE {} INTERFACE", last.to_uppercase())
    }
}

impl Member {
    fn show(&self, out: &mut String) {
        let name = &self.name;
        if self.kind == Kind::Property {
            let when = match self.changes.as_str() {
                "const" => "  (never changes)",
                "false" => "  (changes are not announced)",
                "invalidates" => "  (announced without its value)",
                _ => "",
            };
            return writeln!(out, "    {name} {}{when}", self.type_).expect("text");
        }
        let arguments = self.arguments.iter().map(|argument| {
            let Argument { name, type_, direction } = argument;
            match direction.as_str() {
                "" => format!("{type_} {name}"),
                direction => format!("{direction} {type_} {name}"),
            }
        });
        let arguments = arguments.collect::<Vec<_>>().join(", ");
        writeln!(out, "    {name}({arguments})").expect("text can be written to");
    }
}

/// The errors with their texts, from the one place where they are defined.
pub fn errors() -> String {
    let source = fs::read_to_string(root().join("src/dbus/error.rs")).unwrap();
    let (_, rest) =
        source.split_once("pub enum Error {").expect("src/dbus/error.rs has the errors");
    let body = rest.split("\n}").next().unwrap_or_default();
    let mut out = String::from(".Bl -tag -width Ds -compact\n");
    let mut doc = Vec::new();
    for line in body.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            doc.push(text.trim());
        } else if let Some((name, _)) = line.split_once('(').filter(|_| !line.starts_with('#')) {
            assert!(!doc.is_empty(), "the error {name} has no text in src/dbus/error.rs");
            let text = mdoc::text(&std::mem::take(&mut doc).join(" "));
            write!(out, ".It Cm org.raftctl.Agent1.Error.{name}\n{text}\n").expect("text");
        }
    }
    out + ".El\n"
}

#[test]
fn a_member_without_text_is_named() {
    let xml = r#"<node><interface name="a.B"><method name="Do"><arg name="what" type="s"
        direction="in"/></method><property name="P" type="u" access="read"/></interface></node>"#;
    let interfaces = parse(xml);
    let shown = interfaces[0].synopsis();
    assert!(shown.contains("    Do(in s what)\n") && shown.contains("    P u\n"), "{shown}");
    let page = ".Sh THE B INTERFACE\n.Bl -tag\n.It Fn Do\nDoes it.\n.It Va P\n.It Va Old\n\
                Is gone.\n.El\n";
    let lacking = interfaces[0].without_text(page);
    assert!(lacking.len() == 2 && lacking[0].contains("It Va P"), "{lacking:?}");
    assert!(lacking[1].contains("It Va Old"), "{lacking:?}");
}
