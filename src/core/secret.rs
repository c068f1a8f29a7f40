//! What a node keeps to itself, and what it says instead: pure derivations by SHA-256.
//!
//! The secret that releases an invocation is derived from the key in the state directory, so that
//! the next run, and what runs after a crash, can say it without anything having been written. The
//! machine goes into it as well: a state directory that was moved or copied cannot release what its
//! former machine runs (DESIGN 5.10). The machine-id itself is never said to anybody
//! (machine-id(5)).

use sha2::{Digest as _, Sha256};

use super::release::SECRET_BYTES;
use super::{Invocation, MachineId, NodeName};

/// The key in a state directory.
pub type Key = [u8; 32];

/// The secret that releases `invocation` of the instance that `machine` names.
pub fn release_secret(key: &Key, machine: &[u8; 16], invocation: Invocation) -> [u8; SECRET_BYTES] {
    let digest = Sha256::new_with_prefix(b"raftctl release secret 1\0");
    digest.chain_update(key).chain_update(machine).chain_update(invocation.0).finalize().into()
}

/// The name of node `node` on the machine `machine_id`, as its activations carry it.
pub fn machine_identity(machine_id: MachineId, node: &NodeName) -> [u8; 16] {
    let digest = Sha256::new_with_prefix(b"raftctl machine identity 1\0");
    first_half(digest.chain_update(machine_id.0).chain_update(node.as_str()))
}

/// Stands in for [`machine_identity`] where there is no machine-id: the state directory is the
/// machine.
pub fn identity_without_machine(key: &Key) -> [u8; 16] {
    first_half(Sha256::new_with_prefix(b"raftctl state identity 1\0").chain_update(key))
}

fn first_half(digest: Sha256) -> [u8; 16] {
    let digest: [u8; 32] = digest.finalize().into();
    *digest.first_chunk().expect("32 bytes have a first half")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::state::hash_of;

    const KEY: Key = [1; 32];
    const MACHINE: [u8; 16] = [2; 16];
    const RUN: Invocation = Invocation([3; 16]);

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Another version must derive the same, or it could not release what this one activated.
    #[test]
    fn derivations_stay_what_they_are() {
        let secret = release_secret(&KEY, &MACHINE, RUN);
        assert_eq!(hex(&secret), SECRET_HEX);
        let machine_id = "0123456789abcdef0123456789abcdef".parse().unwrap();
        let machine = machine_identity(machine_id, &"n1".parse().unwrap());
        assert_eq!(hex(&machine), MACHINE_HEX);
    }

    #[test]
    fn each_input_makes_another_secret_and_none_shows() {
        let secret = release_secret(&KEY, &MACHINE, RUN);
        let others = [
            release_secret(&[4; 32], &MACHINE, RUN),
            release_secret(&KEY, &[4; 16], RUN),
            release_secret(&KEY, &MACHINE, Invocation([4; 16])),
        ];
        assert!(others.iter().all(|other| *other != secret), "{others:?}");
        assert_ne!(hash_of(&secret), secret);
        assert!(!secret.windows(4).any(|w| w == [1; 4] || w == [2; 4] || w == [3; 4]));
    }

    #[test]
    fn instances_and_machines_are_told_apart() {
        let (a, b) = (MachineId([1; 16]), MachineId([2; 16]));
        let name = |name: &str| name.parse::<NodeName>().unwrap();
        let one = machine_identity(a, &name("n1"));
        assert_eq!(one, machine_identity(a, &name("n1")));
        assert_ne!(one, machine_identity(a, &name("n2")));
        assert_ne!(one, machine_identity(b, &name("n1")));
        assert_ne!(one, a.0);
        assert_ne!(identity_without_machine(&KEY), identity_without_machine(&[2; 32]));
    }

    const SECRET_HEX: &str = "dc67c3db98d7151ccf559e37f8506f51266352d3fa77cdec75a85257ee6caba4";
    const MACHINE_HEX: &str = "81e96362e14cd73620255e4fb62da80d";
}
