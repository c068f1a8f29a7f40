//! The command line. The work is done in the library.

fn main() {}
