//! Chores of the project, one word each: `cargo xtask <chore>`. `cargo xtask help` lists them.

mod bench;
mod build;
mod deny;
mod failure;
mod packages;
mod parity;
mod test;
mod tidy;
mod vm;

use failure::Failure;
use std::process::ExitCode;

/// What is printed for `help` and for a chore that nobody knows.
const USAGE: &str = "\
cargo xtask <chore>

  hello                     build the release binary and run its first container
  test [--only STEP,...]    run all tests; steps: fmt clippy tidy deny parity unit root e2e vm
  tidy [--write-ratchet]    check the written rules and print the numbers of the code
  parity [--check]          write COMPATIBILITY.md from docker's facts and our own definition
  deny                      check the licences and duplicates of the dependencies
  vm                        run the smoke set on cgroup v2 in a virtual machine
  bench [--only A,B] [--rounds N] [--docker SOCKET]
                            time the same work on this and on every installed peer
  fixtures                  make the images that tests use, once
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<(), Failure> {
    match words {
        ["hello"] => hello(),
        ["test", options @ ..] => test::run(options),
        ["tidy", options @ ..] => tidy::run(options),
        ["parity", options @ ..] => parity::run(options),
        ["deny"] => deny::run(),
        ["vm"] => vm::run().map(drop),
        ["bench", options @ ..] => bench::run(options),
        ["fixtures"] => test::fixtures(),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        [other, ..] => Err(Failure::Usage { text: format!("no chore is called `{other}`\n\n{USAGE}") }),
    }
}

/// Builds what a user would install and runs the image that it carries.
fn hello() -> Result<(), Failure> {
    packages::install(packages::BUILD)?;
    let binary = build::mica(build::Profile::Release)?;
    build::run(std::process::Command::new(binary).args(["run", "--rm", "hello"]))
}
