//! Floor 2: what survives a crash. The Raft log, the state machine's database and the directory
//! they live in.
//!
//! Everything here is synchronous: production calls it from the disk thread, the simulator from
//! its only thread. Nothing here reads a clock or draws random numbers; salts and identities are
//! arguments.
//!
//! | module | owns |
//! |---|---|
//! | [`disk`] | the only way the log touches files |
//! | [`sim_disk`] | the same in memory, with crashes, torn sectors and failing syscalls |
//! | [`fence_record`] | what was ended by force, for people |
//! | [`log`] | what a Raft log is: trait, values, errors |
//! | `segmented` | the preallocated, segmented Raft log; [`SegmentedLog`] |
//! | [`release_key`] | what releases are made with |
//! | [`state_dir`] | the state directory: format, identity, lock |
//! | [`state_store`] | the state machine's database: state, rows, snapshots of both |

pub mod disk;
pub mod fence_record;
pub mod log;
mod marks;
mod pool;
mod record;
mod recovery;
pub mod release_key;
mod segment;
mod segmented;
pub mod sim_disk;
mod small_file;
pub mod standing;
pub mod state_dir;
pub mod state_store;

pub use disk::{Disk, DiskFile, RealDisk};
pub use log::{Batch, LogError, LogOptions, LogStore, RecoveredLog};
pub use segmented::SegmentedLog;
pub use sim_disk::SimDisk;
pub use state_dir::{StateDir, StateDirError};
pub use state_store::{StateStore, StateStoreError, StoredState};
