//! Greets, and counts how long the name is by a crate that cargo has brought.

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    let length = itoa::Buffer::new().format(name.len()).to_owned();
    println!("hello {name} of {length} letters, revision {}", option_env!("REVISION").unwrap_or("none"));
}
