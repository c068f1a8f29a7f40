//! What the log is told about the connections of a peer. One line for both is enough: the bulk one
//! follows the control one.

use std::net::SocketAddr;

use super::Peer;
use super::wire::ConnectionKind;
use crate::core::story::tell;

pub(super) fn connected(kind: ConnectionKind, name: &str, address: SocketAddr) {
    let address = address.to_string();
    match kind {
        ConnectionKind::Control => tell!(
            PeerConnected, peer = name, address = address.as_str();
            "Connected to {name} at {address}."
        ),
        _ => tracing::debug!("connected to {name} at {address} (bulk)"),
    }
}

pub(super) fn lost(kind: ConnectionKind, name: &str, why: &str) {
    match kind {
        ConnectionKind::Control => {
            tell!(PeerLost, peer = name, reason = why; "Lost the connection to {name}: {why}.");
        }
        _ => tracing::debug!("lost the connection to {name}: {why} (bulk)"),
    }
}

pub(super) fn unreachable(peer: &Peer, why: &str) {
    let (name, address) = (peer.name.as_str(), peer.address.as_str());
    tell!(
        PeerUnreachable, peer = name, address = address, reason = why;
        "Cannot reach {name} at {address}: {why}; trying on."
    );
}
