//! The digest that tells whether two members were given the same cluster.

use std::net::Ipv6Addr;

use super::{Cluster, Member};
use crate::core::Address;

/// FNV-1a, 128 bits (draft-eastlake-fnv, "FNV-1a Hash" with the 128-bit prime and offset).
///
/// It finds mistakes, not attackers: before the first committed membership, members with different
/// lists refuse each other. It must never change between versions.
pub(super) fn bootstrap_digest(cluster: &Cluster) -> [u8; 16] {
    let mut hash = Fnv(OFFSET);
    hash.field("raftctl bootstrap 1");
    hash.field(&cluster.name);
    for Member { name, address, .. } in &cluster.members {
        hash.field(name.as_str());
        hash.field(&canonical(address));
    }
    hash.0.to_be_bytes()
}

/// One spelling for each address: host in lower case, IPv6 shortened (RFC 5952), plain port.
pub(super) fn canonical(address: &Address) -> String {
    match address.host().parse::<Ipv6Addr>() {
        Ok(v6) => format!("[{v6}]:{}", address.port()),
        Err(_) => format!("{}:{}", address.host().to_ascii_lowercase(), address.port()),
    }
}

struct Fnv(u128);

impl Fnv {
    /// The bytes of `text` and a terminator, which no name or address contains.
    fn field(&mut self, text: &str) {
        for byte in text.bytes().chain([0]) {
            self.0 = (self.0 ^ u128::from(byte)).wrapping_mul(PRIME);
        }
    }
}

const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = (1 << 88) + (1 << 8) + 0x3b;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::NodeId;

    fn cluster(members: &[(&str, &str)]) -> Cluster {
        let member = |(at, (name, address)): (usize, &(&str, &str))| Member {
            id: NodeId(at as u64 + 1),
            name: name.parse().unwrap(),
            address: address.parse().unwrap(),
        };
        let members = members.iter().enumerate().map(member).collect();
        Cluster { name: "main".into(), members }
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        // Test vectors of draft-eastlake-fnv for "" and "a"; the second without the terminator.
        assert_eq!(OFFSET, 0x6c62272e07bb014262b821756295c58d);
        let a = (OFFSET ^ u128::from(b'a')).wrapping_mul(PRIME);
        assert_eq!(a, 0xd228cb696f1a8caf78912b704e4a8964);
    }

    #[test]
    fn the_digest_is_stable() {
        let digest = bootstrap_digest(&cluster(&[("n1", "a:1"), ("n2", "b:2")]));
        assert_eq!(u128::from_be_bytes(digest), STABLE);
    }

    #[test]
    fn spelling_does_not_count_but_content_does() {
        let of = |m: &[(&str, &str)]| bootstrap_digest(&cluster(m));
        assert_eq!(of(&[("n1", "DB1:07100")]), of(&[("n1", "db1:7100")]));
        assert_eq!(of(&[("n1", "[2001:DB8:0::1]:1")]), of(&[("n1", "[2001:db8::1]:1")]));
        assert_ne!(of(&[("n1", "a:1")]), of(&[("n1", "a:2")]));
        assert_ne!(of(&[("n1", "a:1")]), of(&[("n2", "a:1")]));
        assert_ne!(of(&[("n1", "a:1"), ("n2", "b:1")]), of(&[("n1", "a:1")]));
    }

    const STABLE: u128 = 0xd48b57fdbf60565f502dada172353ffc;
}
