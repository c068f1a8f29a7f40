//! Authority: what this host may do, and until when (DESIGN section 5).
//!
//! Raft elects; authority decides. A pure value: readings of the clock, the replica's position, the
//! replicated record and the host's reports go in; orders to the host and wishes to the log come
//! out.

mod order;
mod timing;

pub use order::{Order, Report};
pub use timing::{
    DRIFT_PPM, Enforcement, FENCE_LEAD, LATENESS_PERCENT, SLACK, Timing, successor_wait,
};
