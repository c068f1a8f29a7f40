//! What the transport counts; no decision depends on it.

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames taken from the queues to be sent.
    pub sent_frames: u64,
    /// Bytes of them that were handed to the kernel.
    pub sent_bytes: u64,
    /// Whole frames received after the handshake.
    pub received_frames: u64,
    /// Payload bytes of those frames.
    pub received_bytes: u64,
    /// Messages dropped because the queue of a connection was full.
    pub dropped_full: u64,
    /// Messages dropped because the peer could not be reached or is not configured.
    pub dropped_unreachable: u64,
    /// Messages dropped because they are larger than a frame may be.
    pub dropped_too_large: u64,
    /// Handshakes refused, by this node or by the other side.
    pub refused: u64,
    /// Incoming connections closed because of what arrived on them.
    pub faulty: u64,
    /// Incoming connections closed to make room for newer ones before their handshake was done.
    pub evicted: u64,
    /// Announcements of releases handed to the driver.
    pub announcements: u64,
    /// Announcements closed without an answer because too many came.
    pub dropped_announcements: u64,
}
