//! Floor 3: one task owns the replica; everybody else holds a [`handle::NodeHandle`].

pub mod handle;
pub mod status;
