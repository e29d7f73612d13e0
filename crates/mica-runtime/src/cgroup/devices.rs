//! Device rules: files of version 1, a program in version 2.

use super::{Group, Version};
use crate::error::{SetupError, SetupStep};
use crate::plan::{ACCESS_MAKE, ACCESS_READ, ACCESS_WRITE, DeviceClass, DeviceException, DeviceRules};
use rustix::fd::AsFd;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use std::path::Path;

/// Puts rules in force for a group that nobody is in yet.
///
/// # Errors
/// When they cannot be put in force: a container must not run with more rights than it was given.
pub(crate) fn restrict(group: &Group, rules: &DeviceRules) -> Result<(), SetupError> {
    if rules.allow_everything() {
        return Ok(());
    }
    match group.controller("devices") {
        Some((directory, Version::Legacy)) => write_rules(directory, rules),
        _ => {
            let failed = |subject: &str, errno| SetupError::new(SetupStep::Limit, subject, errno);
            let unmounted = || failed("device rules (no cgroup hierarchy is mounted)", Errno::NODEV);
            let directory = group.unified.as_deref().ok_or_else(unmounted)?;
            attach_program(Path::new(directory), rules).map_err(|errno| failed("device rules", errno))
        }
    }
}

fn write_rules(directory: &Path, rules: &DeviceRules) -> Result<(), SetupError> {
    let (default, exceptions) = if rules.is_allowed_by_default {
        ("devices.allow", "devices.deny")
    } else {
        ("devices.deny", "devices.allow")
    };
    write(&directory.join(default), ["a".to_owned()])?;
    write(&directory.join(exceptions), rules.exceptions.iter().map(text))
}

/// The kernel takes one rule per write.
fn write(path: &Path, lines: impl IntoIterator<Item = String>) -> Result<(), SetupError> {
    let failed =
        |line: &str, errno| SetupError::new(SetupStep::Limit, format!("{} = {line}", path.display()), errno);
    let file = rustix::fs::openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| failed("", errno))?;
    for line in lines {
        rustix::io::write(&file, line.as_bytes()).map_err(|errno| failed(&line, errno))?;
    }
    Ok(())
}

/// A rule as `devices.allow` takes it (kernel: `cgroup-v1/devices`).
fn text(exception: &DeviceException) -> String {
    let class = match exception.class {
        DeviceClass::Block => 'b',
        DeviceClass::Character => 'c',
    };
    let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
    let letters = [(ACCESS_READ, 'r'), (ACCESS_WRITE, 'w'), (ACCESS_MAKE, 'm')];
    let access: String = letters
        .into_iter()
        .filter(|(bit, _)| exception.access & bit != 0)
        .map(|(_, letter)| letter)
        .collect();
    format!("{class} {}:{} {access}", number(exception.major), number(exception.minor))
}

fn attach_program(directory: &Path, rules: &DeviceRules) -> Result<(), Errno> {
    let program = mica_sys::device_program::load(&program(rules))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let cgroup = rustix::fs::openat(CWD, directory, flags, Mode::empty())?;
    mica_sys::device_program::attach(program.as_fd(), cgroup.as_fd())
}

// Registers: 0 the answer, 1 the context, then what is asked for.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const CLASS: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

// Operations (kernel: `bpf/standardization/instruction-set`): class and size or source.
const LOAD_WORD: u8 = 0x61;
const MOVE_NUMBER: u8 = 0xb7;
const MOVE_REGISTER: u8 = 0xbf;
const AND_NUMBER: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_UNLESS_EQUAL: u8 = 0x55;
/// The same on 32 bits: device numbers may use the topmost.
const JUMP_UNLESS_EQUAL_WORD: u8 = 0x56;
const JUMP_UNLESS_BITS: u8 = 0x15;
const EXIT: u8 = 0x95;

/// Offsets in `struct bpf_cgroup_dev_ctx`.
const OFFSET_ACCESS_AND_CLASS: i16 = 0;
const OFFSET_MAJOR: i16 = 4;
const OFFSET_MINOR: i16 = 8;

fn instruction(operation: u8, (target, source): (u8, u8), offset: i16, number: u32) -> u64 {
    let [low, high] = offset.to_le_bytes();
    let [a, b, c, d] = number.to_le_bytes();
    u64::from_ne_bytes([operation, source << 4 | target, low, high, a, b, c, d])
}

/// A program that answers 1 for what is allowed and 0 for what is not, exception by exception.
///
/// As in version 1, an allowing exception must cover all of what is asked for, a denying one any of it.
fn program(rules: &DeviceRules) -> Vec<u64> {
    let allowed_by_default = u32::from(rules.is_allowed_by_default);
    let mut program = vec![
        instruction(LOAD_WORD, (CLASS, CONTEXT), OFFSET_ACCESS_AND_CLASS, 0),
        instruction(MOVE_REGISTER, (ACCESS, CLASS), 0, 0),
        instruction(AND_NUMBER, (CLASS, 0), 0, 0xffff),
        instruction(SHIFT_RIGHT, (ACCESS, 0), 0, 16),
        instruction(LOAD_WORD, (MAJOR, CONTEXT), OFFSET_MAJOR, 0),
        instruction(LOAD_WORD, (MINOR, CONTEXT), OFFSET_MINOR, 0),
    ];
    for exception in &rules.exceptions {
        program.extend(exception_code(exception, rules.is_allowed_by_default));
    }
    program.push(instruction(MOVE_NUMBER, (ANSWER, 0), 0, allowed_by_default));
    program.push(instruction(EXIT, (0, 0), 0, 0));
    program
}

fn exception_code(exception: &DeviceException, is_denying: bool) -> Vec<u64> {
    // `BPF_DEVCG_DEV_*` of linux/bpf.h.
    let class = match exception.class {
        DeviceClass::Block => 1,
        DeviceClass::Character => 2,
    };
    let mut tests = vec![(JUMP_UNLESS_EQUAL, CLASS, class)];
    tests.extend(exception.major.map(|major| (JUMP_UNLESS_EQUAL_WORD, MAJOR, major)));
    tests.extend(exception.minor.map(|minor| (JUMP_UNLESS_EQUAL_WORD, MINOR, minor)));
    // What comes after the tests of numbers: three about the access, two that answer.
    let mut left = tests.len() + 5;
    let mut code = Vec::with_capacity(left);
    for (operation, register, number) in tests {
        left -= 1;
        code.push(instruction(operation, (register, 0), left as i16, number));
    }
    let access = u32::from(exception.access);
    // Asked for and denied, or asked for and not allowed.
    let (mask, operation) =
        if is_denying { (access, JUMP_UNLESS_BITS) } else { (!access & 0xffff, JUMP_UNLESS_EQUAL) };
    code.push(instruction(MOVE_REGISTER, (SCRATCH, ACCESS), 0, 0));
    code.push(instruction(AND_NUMBER, (SCRATCH, 0), 0, mask));
    code.push(instruction(operation, (SCRATCH, 0), 2, 0));
    code.push(instruction(MOVE_NUMBER, (ANSWER, 0), 0, u32::from(!is_denying)));
    code.push(instruction(EXIT, (0, 0), 0, 0));
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    const NULL: DeviceException = DeviceException {
        class: DeviceClass::Character,
        major: Some(1),
        minor: Some(3),
        access: ACCESS_READ | ACCESS_WRITE,
    };
    const MAKE: DeviceException =
        DeviceException { class: DeviceClass::Block, major: None, minor: None, access: ACCESS_MAKE };

    /// Runs a program as the kernel would, for what it asks: access, class, major, minor.
    fn answer(program: &[u64], (access, class, major, minor): (u32, u32, u32, u32)) -> u64 {
        let context = [access << 16 | class, major, minor];
        let mut registers = [0_u64; 11];
        let mut next = 0;
        loop {
            let [operation, pair, low, high, number @ ..] = program[next].to_ne_bytes();
            let (target, source) = (usize::from(pair & 15), usize::from(pair >> 4));
            let offset = i16::from_le_bytes([low, high]);
            let number = u64::from(u32::from_le_bytes(number));
            next += 1;
            let jumps = match operation {
                LOAD_WORD => {
                    registers[target] = u64::from(context[offset as usize / 4]);
                    false
                }
                MOVE_NUMBER => {
                    registers[target] = number;
                    false
                }
                MOVE_REGISTER => {
                    registers[target] = registers[source];
                    false
                }
                AND_NUMBER => {
                    registers[target] &= number;
                    false
                }
                SHIFT_RIGHT => {
                    registers[target] >>= number;
                    false
                }
                JUMP_UNLESS_EQUAL | JUMP_UNLESS_EQUAL_WORD => registers[target] != number,
                JUMP_UNLESS_BITS => registers[target] == number,
                EXIT => return registers[0],
                other => panic!("unknown operation {other:#x}"),
            };
            if jumps {
                next += offset as usize;
            }
        }
    }

    #[test]
    fn an_allowing_exception_must_cover_everything_asked_for() {
        let rules = DeviceRules { is_allowed_by_default: false, exceptions: vec![NULL, MAKE] };
        let program = program(&rules);
        let (read, write, make) = (2, 4, 1);
        assert_eq!(answer(&program, (read | write, 2, 1, 3)), 1);
        assert_eq!(answer(&program, (read | make, 2, 1, 3)), 0);
        assert_eq!(answer(&program, (read, 2, 1, 5)), 0);
        assert_eq!(answer(&program, (read, 2, 7, 3)), 0);
        assert_eq!(answer(&program, (read, 1, 1, 3)), 0);
        assert_eq!(answer(&program, (make, 1, 8, 0)), 1);
        assert_eq!(answer(&program, (make | read, 1, 8, 0)), 0);
    }

    #[test]
    fn a_denying_exception_denies_any_part_of_what_is_asked_for() {
        let program = program(&DeviceRules { is_allowed_by_default: true, exceptions: vec![NULL] });
        assert_eq!(answer(&program, (2, 2, 1, 3)), 0);
        assert_eq!(answer(&program, (1 | 2, 2, 1, 3)), 0);
        assert_eq!(answer(&program, (1, 2, 1, 3)), 1);
        assert_eq!(answer(&program, (2, 2, 1, 5)), 1);
    }

    #[test]
    fn rules_are_written_as_version_1_reads_them() {
        assert_eq!(text(&NULL), "c 1:3 rw");
        assert_eq!(text(&MAKE), "b *:* m");
    }
}
