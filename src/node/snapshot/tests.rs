//! Tests of snapshots with rows.
