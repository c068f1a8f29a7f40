//! Identities and positions: the nouns of DESIGN section 2, each with one grammar.
//!
//! Parsing happens here and nowhere else; a value of one of these types is valid.

use std::fmt;
use std::str::FromStr;

use crate::limits;

/// Position of an entry in the replicated log (thesis 3.3). The first entry has index 1.
pub type Index = u64;

/// Raft's logical time (thesis 3.3): at most one leader for each.
pub type Term = u64;

/// Number of a node: its position, counted from 1, in the bootstrap member list sorted by name.
/// Never reused for another node. Zero means "none" in messages only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Identity of one activation, strictly increasing in the cluster: the fencing token.
/// `generation << 48 | log index of the activation entry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

impl Token {
    /// The token of the activation entry at `index` in recovery generation `generation`.
    pub fn new(generation: u16, index: Index) -> Token {
        assert!(index < 1 << 48, "log index {index} does not fit into a token");
        Token(u64::from(generation) << 48 | index)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Random identity of a cluster, committed once by its first leader.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub [u8; 16]);

/// Random identity of a state directory: a wiped disk comes back with another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub [u8; 16]);

/// Identity of one run of an agent: systemd's `$INVOCATION_ID`, or random.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Invocation(pub [u8; 16]);

/// Identity of an installed system, as machine-id(5) has it. Never told to anybody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineId(pub [u8; 16]);

macro_rules! hex_identity {
    ($name:ident, $what:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let bad = || InvalidName {
                    what: $what,
                    value: text.to_owned(),
                    expected: "32 lower-case hexadecimal digits",
                };
                let is_hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
                if text.len() != 32 || !text.bytes().all(is_hex) {
                    return Err(bad());
                }
                let mut bytes = [0; 16];
                for (at, byte) in bytes.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| bad())?;
                }
                Ok($name(bytes))
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = InvalidName;

            fn try_from(bytes: &[u8]) -> Result<Self, InvalidName> {
                bytes.try_into().map($name).map_err(|_| InvalidName {
                    what: $what,
                    value: format!("{} bytes", bytes.len()),
                    expected: "16 bytes",
                })
            }
        }
    };
}

hex_identity!(ClusterId, "cluster identity");
hex_identity!(Incarnation, "incarnation");
hex_identity!(Invocation, "invocation");
hex_identity!(MachineId, "machine-id");

/// Name of a node, which is also its systemd instance name and the last element of its bus name.
///
/// Grammar: a lower-case letter, then lower-case letters, digits, `-` or `_`; at most
/// [`limits::NAME_MAX_CHARS`] characters. Valid unescaped in systemd unit names
/// (systemd.unit(5), "String Escaping for Inclusion in Unit Names") and in D-Bus bus names
/// (D-Bus specification, "Valid Names").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

/// What a name must look like, for messages.
pub const NAME_GRAMMAR: &str =
    "a lower-case letter followed by lower-case letters, digits, '-' or '_', at most 32 characters";

/// Whether `text` follows [`NAME_GRAMMAR`]; node and cluster names share it.
pub fn is_valid_name(text: &str) -> bool {
    let follows = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_';
    text.len() <= limits::NAME_MAX_CHARS
        && text.bytes().next().is_some_and(|c| c.is_ascii_lowercase())
        && text.bytes().all(follows)
}

impl NodeName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if is_valid_name(text) {
            return Ok(NodeName(text.to_owned()));
        }
        Err(InvalidName { what: "node name", value: text.to_owned(), expected: NAME_GRAMMAR })
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a node's Raft listener is reached: `host:port`, `1.2.3.4:port` or `[v6]:port`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(String);

impl Address {
    /// The address as text, `host:port`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Host part, without brackets.
    pub fn host(&self) -> &str {
        let host = self.0.rsplit_once(':').map_or("", |(host, _)| host);
        host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host)
    }

    /// Port part.
    pub fn port(&self) -> u16 {
        self.0.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0)
    }
}

impl FromStr for Address {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let bad = || InvalidName {
            what: "address",
            value: text.to_owned(),
            expected: "host:port, for example 192.0.2.1:7100, [2001:db8::1]:7100 \
                       or db1.example:7100",
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port_ok = port.parse::<u16>().is_ok_and(|p| p != 0) && !port.starts_with('+');
        let host_ok = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'.' || c == b'-';
                !host.is_empty() && host.len() <= 253 && host.bytes().all(plain)
            }
        };
        if port_ok && host_ok { Ok(Address(text.to_owned())) } else { Err(bad()) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name, identity or address that does not follow its grammar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is not valid: expected {expected}")]
pub struct InvalidName {
    /// Which kind of thing was being named.
    pub what: &'static str,
    /// What was given.
    pub value: String,
    /// What the grammar asks for.
    pub expected: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_in_units_and_on_the_bus() {
        for good in ["n1", "a", "db-primary_2", "abcdefghijklmnopqrstuvwxyz012345"] {
            assert!(good.parse::<NodeName>().is_ok(), "{good}");
        }
        let bad =
            ["", "1n", "-n", "N1", "n.1", "n 1", "n/1", "é", "abcdefghijklmnopqrstuvwxyz0123456"];
        for bad in bad {
            let error = bad.parse::<NodeName>().unwrap_err();
            assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
        }
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for good in ["127.0.0.1:7100", "[::1]:1", "db1.example:65535", "n1:7100"] {
            assert_eq!(good.parse::<Address>().unwrap().as_str(), good);
        }
        for bad in
            ["", "n1", "n1:", ":7100", "n1:0", "n1:65536", "n1:+7", "::1:7", "[n1]:7", "a b:1"]
        {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
        let v6: Address = "[2001:db8::1]:7100".parse().unwrap();
        assert_eq!((v6.host(), v6.port()), ("2001:db8::1", 7100));
    }

    #[test]
    fn identities_round_trip_as_hex() {
        let id = ClusterId([0xab; 16]);
        assert_eq!(id.to_string().parse::<ClusterId>().unwrap(), id);
        for bad in ["", "zz", &"A".repeat(32), &"a".repeat(31), &"é".repeat(16)] {
            assert!(bad.parse::<ClusterId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn tokens_of_a_later_generation_are_larger() {
        assert!(Token::new(1, 1) > Token::new(0, 1 << 47));
    }
}
