//! `[http]`: where the agent serves HTTP, to whom, and how much of it.

use std::path::PathBuf;

use super::nodes::{Places, resolve};
use super::reader::{Bad, Reader, Section};
use crate::core::Address;
use crate::limits;

/// `[http]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// What it binds; `None`: HTTP is off. A host name is resolved by whoever binds it.
    pub listen: Option<Address>,
    /// The file with the token that every client must show; need not exist.
    pub token_file: Option<PathBuf>,
    /// Origins of web pages whose scripts may use it: `scheme://host` or `scheme://host:port`.
    pub allow_origins: Vec<String>,
    /// Connections at once; at least one.
    pub connections: u32,
    /// Requests a second that one client address may make; at least one.
    pub rate: u32,
}

impl Default for Http {
    fn default() -> Http {
        Http {
            listen: None,
            token_file: None,
            allow_origins: Vec::new(),
            connections: limits::HTTP_CONNECTIONS,
            rate: limits::HTTP_RATE,
        }
    }
}

/// Reads `[http]`; what is not given is as in `base`.
pub(super) fn http(
    reader: &mut Reader,
    section: &Section,
    base: Http,
    places: Places,
) -> Result<Http, Bad> {
    let listen = reader.by_from_str(section, "listen");
    let token_file = reader.path(section, "token_file");
    let allow_origins = origins(reader, section);
    let connections = reader.number(section, "connections", 1..=limits::HTTP_CONNECTIONS_MAX);
    let rate = reader.number(section, "rate", 1..=limits::HTTP_RATE_MAX);
    Ok(Http {
        listen: listen?.map(|field| field.value).or(base.listen),
        token_file: token_file?.map(|field| resolve(places.base, &field.value)).or(base.token_file),
        allow_origins: allow_origins?.unwrap_or(base.allow_origins),
        connections: connections?.unwrap_or(base.connections),
        rate: rate?.unwrap_or(base.rate),
    })
}

/// Reports `[http]` settings of a listener that is not there.
pub(super) fn check_listen(reader: &mut Reader, section: &Section, http: &Http) -> Result<(), Bad> {
    if section.keys().is_empty() || http.listen.is_some() {
        return Ok(());
    }
    Err(reader.missing(section, "\"listen\"", "listen = \"127.0.0.1:2379\""))
}

/// The origins, each once.
fn origins(reader: &mut Reader, section: &Section) -> Result<Option<Vec<String>>, Bad> {
    let Some(list) = reader.list(section, "allow_origins")? else { return Ok(None) };
    if list.value.len() > limits::HTTP_ORIGINS_MAX {
        let expected = format!("at most {} origins", limits::HTTP_ORIGINS_MAX);
        return Err(reader.refuse(&list.origin, expected));
    }
    let (mut origins, mut good) = (Vec::new(), Ok(()));
    for field in list.value {
        if is_origin(&field.value) {
            origins.push(field.value);
        } else {
            let expected = "an origin such as \"https://panel.example\" or \
                            \"http://localhost:8080\", in lower case and without a path";
            good = Err(reader.refuse(&field.origin, expected));
        }
    }
    origins.sort();
    origins.dedup();
    good.map(|()| Some(origins))
}

/// Whether a browser would send `text` as `Origin:` (RFC 6454, 6.1).
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let in_host = |c: u8| {
        c.is_ascii_lowercase()
            || c.is_ascii_digit()
            || matches!(c, b'.' | b'-' | b':' | b'[' | b']')
    };
    rest.is_some_and(|host| {
        !host.is_empty() && host.len() <= limits::HTTP_ORIGIN_MAX_BYTES && host.bytes().all(in_host)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::ConfigFile;

    const BASE: &str = "node.name = \"n1\"\ncluster.members = { n1 = \"a:1\" }\n";

    fn parse(text: &str) -> Result<Http, String> {
        let file = ConfigFile::parse(&format!("{BASE}{text}"), "c.toml", Path::new("/etc"));
        Ok(file.map_err(|e| e.to_string())?.node(None).unwrap().http.clone())
    }

    #[test]
    fn it_is_off_unless_it_has_an_address() {
        assert_eq!(parse("").unwrap(), Http::default());
        let on = parse("[http]\nlisten = \"127.0.0.1:80\"\ntoken_file = \"t\"\nrate = 5").unwrap();
        assert_eq!(on.listen.unwrap().as_str(), "127.0.0.1:80");
        assert_eq!((on.token_file, on.rate), (Some("/etc/t".into()), 5));
        let error = parse("[http]\nrate = 5").unwrap_err();
        assert!(error.contains("[http] has no \"listen\""), "{error}");
    }

    #[test]
    fn origins_are_what_a_browser_sends() {
        let with = |origin: &str| {
            parse(&format!("[http]\nlisten = \"a:1\"\nallow_origins = [\"{origin}\"]"))
        };
        for good in ["https://panel.example", "http://localhost:8080", "http://[::1]:80"] {
            assert_eq!(with(good).unwrap().allow_origins, [good]);
        }
        for bad in ["*", "", "panel.example", "https://", "https://a/", "https://A", "null"] {
            assert!(with(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn local_nodes_have_an_address_each() {
        let text = |n2: &str| {
            format!(
                "cluster.members = {{ n1 = \"a:1\", n2 = \"b:1\" }}\nhttp.rate = 7\n\
                 [nodes.n1.http]\nlisten = \"a:8\"\n[nodes.n2.http]\nlisten = \"{n2}\"\n"
            )
        };
        let parse = |n2| ConfigFile::parse(&text(n2), "c.toml", Path::new("/etc"));
        let file = parse("b:8").unwrap();
        let found: Vec<_> = file.nodes().iter().map(|c| (c.http.rate, &c.http.listen)).collect();
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|(rate, listen)| *rate == 7 && listen.is_some()));
        let error = parse("a:8").unwrap_err().to_string();
        assert!(error.contains("listen"), "{error}");
    }
}
