//! The `mica` binary: picks a door (command line, monitor).

fn main() {}
