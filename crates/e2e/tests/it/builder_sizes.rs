//! Builds of what is large: contexts, files, Dockerfiles. Memory has bounds, and so has time.
//!
//! With `MICA_TEST_FULL_SIZE=1` they are as large as users have them: a million files, 10 GiB.

use e2e::{Output, World};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Set by hand for tests at full size.
const FULL_SIZE: &str = "MICA_TEST_FULL_SIZE";

const PATIENCE: Duration = Duration::from_secs(900);

/// What a build may take in memory, whatever it builds, in KiB.
const BOUND: u64 = 64 << 10;

fn sized(usual: u64, full: u64) -> u64 {
    if std::env::var_os(FULL_SIZE).is_some() { full } else { usual }
}

fn context(world: &World, dockerfile: &str) -> PathBuf {
    let directory = world.scratch().join("context");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
    directory
}

/// Builds what is in the context, and tells how much memory that took.
fn build(world: &World, directory: &Path) -> (Output, u64) {
    let words = ["build", "-q", "-t", "built", "--network", "none", "."];
    world.invoke(words).directory(directory).limit(PATIENCE).run_watched()
}

#[test]
#[ignore = "needs root"]
fn privileged_a_context_of_very_many_files_takes_no_more_memory() {
    let world = World::with_busybox();
    let directory = context(&world, "FROM busybox\nCOPY files /files\n");
    let count = sized(20_000, 1_000_000);
    for number in 0..count {
        let parent = directory.join("files").join((number / 1000).to_string());
        if number % 1000 == 0 {
            fs::create_dir_all(&parent).unwrap();
        }
        fs::write(parent.join(number.to_string()), "").unwrap();
    }
    for _ in 0..2 {
        let (built, peak) = build(&world, &directory);
        built.success();
        assert!(peak < BOUND, "{peak} KiB");
    }
    let counted = ["run", "--rm", "--network", "none", "built", "sh", "-c", "find /files -type f | wc -l"];
    world.invoke(counted).limit(PATIENCE).run().success().stdout_is(&format!("{count}\n"));
}

#[test]
#[ignore = "needs root"]
fn privileged_a_very_large_file_keeps_its_holes_and_takes_no_more_memory() {
    let world = World::with_busybox();
    let directory = context(&world, "FROM busybox\nCOPY large /\n");
    let size = sized(1 << 30, 10 << 30);
    let file = fs::File::create(directory.join("large")).unwrap();
    file.set_len(size - 4).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"middle", size / 2).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"end\n", size - 4).unwrap();
    let (built, peak) = build(&world, &directory);
    built.success();
    assert!(peak < BOUND, "{peak} KiB");
    let script = "stat -c %s /large; du -k /large | cut -f 1; tail -c 4 /large";
    let told =
        world.mica(["run", "--rm", "--network", "none", "built", "sh", "-c", script]).success().lines();
    assert_eq!((&told[0], &told[2]), (&size.to_string(), &"end".to_owned()));
    assert!(told[1].parse::<u64>().unwrap() < 1024, "{} KiB of the disk", told[1]);
}

#[test]
#[ignore = "needs root"]
fn privileged_very_long_dockerfiles_are_built_or_refused_in_bounded_memory() {
    let world = World::with_busybox();
    let lines = |count: usize, line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<String>();
    let nested = |depth: usize| format!("LABEL a={}{}\n", "${a:-".repeat(depth), "}".repeat(depth));
    let good = [
        format!("# {}\nLABEL a=b\n", "c".repeat(10 << 20)),
        lines(100_000, &|_| format!("# {}\n", "c".repeat(97))) + "LABEL a=b\n",
        lines(20_000, &|number| format!("LABEL l{number}=v\n")),
        lines(5_000, &|number| format!("FROM busybox AS s{number}\n")),
        nested(60),
    ];
    for dockerfile in good {
        let directory = context(&world, &format!("FROM busybox\n{dockerfile}"));
        let (built, peak) = build(&world, &directory);
        built.success();
        assert!(peak < 4 * BOUND, "{peak} KiB: {}", &dockerfile[..40]);
    }
    let bad = [
        ("larger than 16 MiB", format!("ARG A=xxxxxxxxxx\n{}", "ARG A=${A}${A}\n".repeat(64))),
        ("more than 64 MiB", lines(20_000, &|number| format!("ENV E{}=v$E{number}\n", number + 1))),
        ("nested deeper", nested(100_000)),
        ("unterminated heredoc", format!("RUN <<END\n{}", "x\n".repeat(1 << 20))),
        (
            "circular dependency detected on stage: a",
            "FROM busybox AS a\nCOPY --from=b / /\nFROM busybox AS b\nCOPY --from=a / /\n".to_owned(),
        ),
    ];
    for (words, dockerfile) in bad {
        let directory = context(&world, &format!("FROM busybox\n{dockerfile}"));
        let (refused, peak) = build(&world, &directory);
        refused.failure().stderr_contains(words);
        assert!(peak < 8 * BOUND, "{peak} KiB: {words}");
    }
}
