//! The agent. The work is done in the library.

fn main() {}
