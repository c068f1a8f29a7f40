//! What the keys of the configuration hold, and how messages and the manual say it.

use crate::core::id::NAME_GRAMMAR;

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A node or cluster name.
    Name,
    /// `host:port`.
    Address,
    /// A file or directory; relative to the directory of the configuration file.
    Path,
    /// A duration with unit.
    Duration,
    /// A number of bytes with unit.
    Size,
    /// A table of member names and addresses.
    Members,
    /// A log level.
    Level,
    /// A log format.
    Format,
    /// What happens when a demotion takes too long.
    OnDemoteTimeout,
    /// Who enforces the end of an activation.
    Enforcement,
    /// A whole number.
    Number,
    /// Yes or no.
    Flag,
    /// Names of units.
    Units,
    /// A program and its arguments.
    Command,
    /// Origins of web pages.
    Origins,
}

impl Kind {
    /// The type's name in the manual.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Name => "name",
            Kind::Address => "address",
            Kind::Path => "path",
            Kind::Duration => "duration",
            Kind::Size => "size",
            Kind::Members => "table of addresses",
            Kind::Level => "level",
            Kind::Format => "format",
            Kind::OnDemoteTimeout => "action",
            Kind::Enforcement => "enforcement",
            Kind::Number => "number",
            Kind::Flag => "true or false",
            Kind::Units => "list of units",
            Kind::Command => "list of words",
            Kind::Origins => "list of origins",
        }
    }

    /// What a value must look like, for messages.
    pub const fn expected(self) -> &'static str {
        match self {
            Kind::Name => NAME_GRAMMAR,
            Kind::Address => {
                "host:port in quotes, for example \"192.0.2.1:7100\", \"[2001:db8::1]:7100\" or \
                 \"db1.example:7100\""
            }
            Kind::Path => "a path in quotes, absolute or relative to this file",
            Kind::Duration => "a duration with its unit in quotes, for example \"200ms\" or \"5s\"",
            Kind::Size => "a size with its unit in quotes, for example \"256MiB\" or \"64KiB\"",
            Kind::Members => "a table such as { n1 = \"192.0.2.1:7100\", n2 = \"192.0.2.2:7100\" }",
            Kind::Level => "one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"",
            Kind::Format => "\"text\" or \"json\"",
            Kind::OnDemoteTimeout => "one of \"none\", \"kill\", \"reboot\"",
            Kind::Enforcement => "\"systemd\" or \"none\"",
            Kind::Number => "a whole number",
            Kind::Flag => "true or false, without quotes",
            Kind::Units => "a list of units such as [\"nginx.service\", \"pg@main.service\"]",
            Kind::Command => "a list of words such as [\"/usr/local/bin/check\", \"--quick\"]",
            Kind::Origins => "a list of origins such as [\"https://panel.example\"]",
        }
    }
}
