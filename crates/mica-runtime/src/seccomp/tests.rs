//! The filter against the profile: an emulator of the kernel's filter machine beside a plain reading
//! of the profile's words, over every number, architecture and class of arguments.

use super::abi::{Abi, Numbers, X32_BIT};
use super::compile::{self, AND, Instruction, JUMP, JUMP_EQUAL, JUMP_GREATER, JUMP_NOT_LESS, LOAD, RETURN};
use super::profile::{self, Comparison, Host, Operator, Rule, Rules, word};
use super::*;
use crate::plan::CAPABILITY_COUNT;
use std::collections::{BTreeMap, BTreeSet};

const EPERM: u32 = word::ERRNO | 1;
const ENOSYS: u32 = word::ERRNO | 38;

/// What the kernel shows of a call (`struct seccomp_data`).
#[derive(Debug, Clone, Copy)]
struct Call {
    number: u32,
    audit: u32,
    arguments: [u64; 6],
}

impl Call {
    fn word_at(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.audit,
            16..64 => {
                let argument = self.arguments[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) { argument as u32 } else { (argument >> 32) as u32 }
            }
            _ => panic!("a filter looks at offset {offset}"),
        }
    }
}

/// Runs a program as the kernel does; also tells how many instructions that took.
fn emulate(program: &[Instruction], call: &Call) -> (u32, usize) {
    let (mut accumulator, mut position, mut count) = (0, 0, 0);
    loop {
        let instruction = program[position];
        let operand = instruction.operand;
        count += 1;
        position += 1;
        let holds = match instruction.code {
            LOAD => {
                assert_eq!(operand % 4, 0);
                accumulator = call.word_at(operand);
                continue;
            }
            AND => {
                accumulator &= operand;
                continue;
            }
            JUMP => {
                position += operand as usize;
                continue;
            }
            RETURN => return (operand, count),
            JUMP_EQUAL => accumulator == operand,
            JUMP_GREATER => accumulator > operand,
            JUMP_NOT_LESS => accumulator >= operand,
            other => panic!("unknown instruction {other:#x}"),
        };
        position += usize::from(if holds { instruction.if_true } else { instruction.if_false });
    }
}

fn holds(comparison: &Comparison, abi: Abi, name: &str, arguments: &[u64; 6]) -> bool {
    let is_int = matches!((name, comparison.index), ("socket", 0..=2) | ("personality", 0));
    let width = if is_int || matches!(abi, Abi::X86 | Abi::X32 | Abi::Arm) { 0xFFFF_FFFF } else { u64::MAX };
    let argument = arguments[usize::from(comparison.index)] & width;
    let (value, second) = (comparison.value & width, comparison.second & width);
    match comparison.operator {
        Operator::Equal => argument == value,
        Operator::NotEqual => argument != value,
        Operator::Less => argument < value,
        Operator::LessOrEqual => argument <= value,
        Operator::Greater => argument > value,
        Operator::GreaterOrEqual => argument >= value,
        Operator::MaskedEqual => argument & value == second & value,
    }
}

/// The plain reading: what the rules say about a call of a name, or of a number without any.
struct Reading<'a> {
    rules: &'a Rules,
    /// The names of each number.
    names: BTreeMap<(Abi, u32), Vec<&'a str>>,
    last: BTreeMap<Abi, u32>,
}

impl<'a> Reading<'a> {
    fn new(rules: &'a Rules) -> Self {
        let numbers = Numbers::open();
        let mut names: BTreeMap<(Abi, u32), Vec<&str>> = BTreeMap::new();
        let mut last = BTreeMap::new();
        for abi in rules.abis.iter().copied() {
            for name in rules.rules.iter().flat_map(|rule| &rule.names) {
                let Some(number) = numbers.number(abi, name) else { continue };
                let known = names.entry((abi, number)).or_default();
                if !known.contains(&name.as_str()) {
                    known.push(name);
                }
                if abi != Abi::Arm || number < 0xF_0000 {
                    let last = last.entry(abi).or_insert(number);
                    *last = number.max(*last);
                }
            }
        }
        Self { rules, names, last }
    }

    fn abi(&self, call: &Call) -> Option<Abi> {
        let is_x32 = call.number & X32_BIT != 0 && call.number >> 31 == 0;
        let has = |abi: &Abi| self.rules.abis.contains(abi);
        match call.audit {
            0xC000_003E if has(&Abi::X86_64) && call.number < X32_BIT => Some(Abi::X86_64),
            0xC000_003E if has(&Abi::X32) && (is_x32 || call.number >> 31 != 0) => Some(Abi::X32),
            0xC000_003E if has(&Abi::X86_64) && call.number == u32::MAX => Some(Abi::X86_64),
            0x4000_0003 if has(&Abi::X86) => Some(Abi::X86),
            0xC000_00B7 if has(&Abi::Aarch64) => Some(Abi::Aarch64),
            0x4000_0028 if has(&Abi::Arm) => Some(Abi::Arm),
            _ => None,
        }
    }

    fn says(&self, call: &Call) -> u32 {
        let Some(abi) = self.abi(call) else { return word::KILL_PROCESS };
        let Some(names) = self.names.get(&(abi, call.number)) else {
            let is_open = [word::ALLOW, word::LOG].contains(&self.rules.default);
            let is_new = self.last.get(&abi).is_none_or(|last| call.number > *last);
            return if is_new && !is_open { ENOSYS } else { self.rules.default };
        };
        let own = |rule: &&Rule| rule.names.iter().any(|name| names.contains(&name.as_str()));
        let own: Vec<&Rule> = self.rules.rules.iter().filter(own).collect();
        if let Some(rule) = own.iter().find(|rule| rule.comparisons.is_empty()) {
            return rule.action;
        }
        let applies = |rule: &&&Rule| {
            rule.comparisons.iter().all(|comparison| holds(comparison, abi, names[0], &call.arguments))
        };
        own.iter().find(applies).map_or(self.rules.default, |rule| rule.action)
    }

    /// For each argument: every value at, beside and far from one that a rule names, in both halves.
    fn arguments(&self, abi: Option<Abi>, number: u32) -> Vec<[u64; 6]> {
        let mut all = vec![[0; 6], [u64::MAX; 6]];
        let names = abi.and_then(|abi| self.names.get(&(abi, number)));
        let Some(names) = names else { return all };
        let rules = self
            .rules
            .rules
            .iter()
            .filter(|rule| rule.names.iter().any(|name| names.contains(&name.as_str())));
        let comparisons: Vec<Comparison> = rules.flat_map(|rule| rule.comparisons.clone()).collect();
        let indices: BTreeSet<u8> = comparisons.iter().map(|comparison| comparison.index).collect();
        for index in indices {
            let mut values = BTreeSet::from([0, 1, u64::MAX, 1 << 31, 1 << 32, 1 << 63, u64::from(u32::MAX)]);
            for comparison in comparisons.iter().filter(|comparison| comparison.index == index) {
                for value in [comparison.value, comparison.second] {
                    for near in [value.wrapping_sub(1), value, value.wrapping_add(1), !value] {
                        values.extend([near, near | 1 << 32, near | 0xFFFF_FFFF << 32, near & 0xFFFF_FFFF]);
                    }
                    values.extend((0..64).map(|bit| value ^ 1 << bit));
                    values.extend((0..64).map(|bit| 1 << bit));
                }
            }
            let before = all.clone();
            for arguments in before {
                all.extend(values.iter().map(|value| {
                    let mut arguments = arguments;
                    arguments[usize::from(index)] = *value;
                    arguments
                }));
            }
        }
        all
    }
}

/// Every number that could have a meaning, and the ends of the regions.
fn numbers_of_calls() -> impl Iterator<Item = u32> {
    let regions = [0, X32_BIT, 0xF_0000, X32_BIT * 2, X32_BIT * 3];
    let ends = [X32_BIT - 1, X32_BIT * 2 - 1, X32_BIT * 3 - 1, u32::MAX - 1, u32::MAX];
    regions.into_iter().flat_map(|first| first..first + 1100).chain(ends)
}

fn prove(rules: &Rules) -> usize {
    let program = compile::compile(rules).unwrap();
    let reading = Reading::new(rules);
    let mut longest = 0;
    for audit in [0xC000_003E, 0x4000_0003, 0xC000_00B7, 0x4000_0028, 0, 0xC000_00F3, u32::MAX] {
        for number in numbers_of_calls() {
            let probe = Call { number, audit, arguments: [0; 6] };
            for arguments in reading.arguments(reading.abi(&probe), number) {
                let call = Call { arguments, ..probe };
                let (result, count) = emulate(&program, &call);
                assert_eq!(result, reading.says(&call), "{call:x?}");
                longest = longest.max(count);
            }
        }
    }
    longest
}

fn rules_for(json: &str, abi: Abi, capabilities: &[&str]) -> Rules {
    let has_capability = |name: &str| capabilities.contains(&name);
    let host = Host { abi, kernel: (6, 1), has_capability: &has_capability };
    profile::resolve(json, &host).unwrap().unwrap()
}

fn call(abi: Abi, name: &str, arguments: &[u64]) -> Call {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    let number = Numbers::open().number(abi, name).unwrap();
    Call { number, audit: abi.audit(), arguments: all }
}

fn asked_with_prefix() -> Vec<String> {
    ASKED_CAPABILITIES.iter().map(|name| format!("CAP_{name}")).collect()
}

#[test]
fn the_filter_is_the_profile_for_every_call() {
    let asked = asked_with_prefix();
    for abi in [Abi::X86_64, Abi::Aarch64] {
        let usual = prove(&rules_for(DEFAULT_PROFILE, abi, &["CAP_SYS_CHROOT"]));
        assert!(usual <= 40, "a call takes {usual} instructions");
        prove(&rules_for(DEFAULT_PROFILE, abi, &[]));
        for name in &asked {
            prove(&rules_for(DEFAULT_PROFILE, abi, &["CAP_SYS_CHROOT", name]));
        }
        prove(&rules_for(DEFAULT_PROFILE, abi, &asked.iter().map(String::as_str).collect::<Vec<_>>()));
    }
}

#[test]
fn the_profile_asks_for_the_capabilities_that_we_think() {
    let document: serde_json::Value = serde_json::from_str(DEFAULT_PROFILE).unwrap();
    let mut found = BTreeSet::new();
    for block in document["syscalls"].as_array().unwrap() {
        for side in ["includes", "excludes"] {
            let names = block[side]["caps"].as_array().into_iter().flatten();
            found.extend(names.map(|name| name.as_str().unwrap().to_owned()));
        }
    }
    assert_eq!(found, asked_with_prefix().into_iter().collect());
}

#[test]
fn the_filter_in_the_binary_is_that_of_docker_s_capabilities() {
    let usual = capability_mask(&["CHOWN", "SETUID", "MKNOD", "SYS_CHROOT"]);
    let builtin = Filter::builtin(usual).unwrap();
    assert_eq!(builtin, Filter(Program::Default));
    let compiled = Filter::compile(DEFAULT_PROFILE, usual).unwrap().unwrap();
    assert_eq!((builtin.code(), builtin.flags()), (compiled.code(), compiled.flags()));
    let more = Filter::builtin(usual | capability_mask(&["SYS_ADMIN"])).unwrap();
    assert_ne!(more.code(), builtin.code());
    assert_ne!(Filter::builtin(0).unwrap().code(), builtin.code());
}

#[test]
fn what_docker_promises_of_its_default_holds() {
    let program = compile::compile(&rules_for(DEFAULT_PROFILE, Abi::X86_64, &["CAP_SYS_CHROOT"])).unwrap();
    let says = |name: &str, arguments: &[u64]| emulate(&program, &call(Abi::X86_64, name, arguments)).0;
    for name in
        ["mount", "unshare", "bpf", "keyctl", "add_key", "kexec_load", "reboot", "setns", "io_uring_setup"]
    {
        assert_eq!(says(name, &[]), EPERM, "{name}");
    }
    for name in ["read", "execve", "chroot", "ptrace", "close_range", "capset", "openat2"] {
        assert_eq!(says(name, &[]), word::ALLOW, "{name}");
    }
    assert_eq!(says("clone3", &[]), ENOSYS);
    assert_eq!(says("clone", &[0x11]), word::ALLOW);
    for namespace in [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
        assert_eq!(says("clone", &[namespace | 0x11]), EPERM, "{namespace:#x}");
    }
    for (family, expected) in
        [(1, word::ALLOW), (2, word::ALLOW), (16, word::ALLOW), (38, EPERM), (40, EPERM)]
    {
        assert_eq!(says("socket", &[family]), expected, "family {family}");
        // The kernel takes the lower half of a family.
        assert_eq!(says("socket", &[family | 7 << 32]), expected, "family {family} in disguise");
    }
    for (persona, expected) in
        [(0, word::ALLOW), (8, word::ALLOW), (0xFFFF_FFFF, word::ALLOW), (0x40000, EPERM)]
    {
        assert_eq!(says("personality", &[persona]), expected);
    }
}

#[test]
fn a_profile_of_all_operators_is_what_it_says() {
    let operators = ["NE", "LT", "LE", "EQ", "GE", "GT"];
    let values = [0, 5, 0xFFFF_FFFF, 0x1_0000_0000, 0x1234_5678_9ABC_DEF0, u64::MAX];
    for default in ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_LOG", "SCMP_ACT_KILL_PROCESS"] {
        for operator in operators {
            for value in values {
                let json = format!(
                    r#"{{"defaultAction":"{default}","architectures":["SCMP_ARCH_X86"],"syscalls":[
                    {{"names":["read","no_such_call"],"action":"SCMP_ACT_TRAP","args":[
                    {{"index":2,"value":{value},"op":"SCMP_CMP_{operator}"}}]}},
                    {{"names":["write"],"action":"SCMP_ACT_ERRNO","errnoRet":5,"args":[
                    {{"index":0,"value":{value},"valueTwo":5,"op":"SCMP_CMP_MASKED_EQ"}},
                    {{"index":5,"value":{value},"op":"SCMP_CMP_{operator}"}}]}},
                    {{"name":"chmod","action":"SCMP_ACT_ERRNO","errnoRet":7,"args":[
                    {{"index":1,"value":1,"op":"SCMP_CMP_EQ"}},{{"index":1,"value":9,"op":"SCMP_CMP_EQ"}}]}}]}}"#
                );
                prove(&rules_for(&json, Abi::X86_64, &[]));
            }
        }
    }
}

#[test]
fn profiles_that_cannot_be_carried_out_are_refused() {
    let fails = |json: &str| Filter::compile(json, 0).map(|_| ()).unwrap_err().to_string();
    assert!(fails("{").starts_with("decoding seccomp profile failed: "));
    let block = |inner: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{{inner}}}]}}"#);
    assert_eq!(
        fails(&block(r#""name":"a","names":["b"],"action":"SCMP_ACT_ERRNO""#)),
        "'name' and 'names' were specified in the seccomp profile, use either 'name' or 'names'"
    );
    assert!(fails(&block(r#""name":"a","action":"SCMP_ACT_NOTIFY""#)).contains("SCMP_ACT_NOTIFY"));
    assert!(fails(&block(r#""name":"a","action":"ALLOW""#)).contains("\"ALLOW\""));
    assert!(fails(r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["x"]}"#).contains("architecture"));
    let both = r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],
        "archMap":[{"architecture":"SCMP_ARCH_X86_64"}]}"#;
    assert!(fails(both).contains("'architectures' and 'archMap'"));
    assert_eq!(Filter::compile("{}", 0), Ok(None));
}

#[test]
fn conditions_on_the_kernel_and_rights_are_resolved() {
    let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
        {"names":["read"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"6.2"}},
        {"names":["write"],"action":"SCMP_ACT_ALLOW","excludes":{"minKernel":"6.1"}},
        {"names":["open"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_A","CAP_B"]}},
        {"names":["close"],"action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_A","CAP_B"]}},
        {"names":["stat"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["amd64","arm"]}},
        {"names":["fstat"],"action":"SCMP_ACT_ALLOW","excludes":{"arches":["amd64"]}}]}"#;
    let names = |abi, capabilities: &[&str]| -> Vec<String> {
        rules_for(json, abi, capabilities).rules.into_iter().flat_map(|rule| rule.names).collect()
    };
    assert_eq!(names(Abi::X86_64, &[]), ["close", "stat"]);
    assert_eq!(names(Abi::X86_64, &["CAP_A"]), ["stat"]);
    assert_eq!(names(Abi::Aarch64, &["CAP_A", "CAP_B"]), ["open", "fstat"]);
}

#[test]
fn a_filter_survives_being_kept() {
    let filter = Filter::compile(DEFAULT_PROFILE, (1 << CAPABILITY_COUNT) - 1).unwrap().unwrap();
    let bytes = filter.to_bytes();
    assert_eq!(Filter::from_bytes(&bytes), Some(filter));
    assert_eq!(Filter::from_bytes(&bytes[..bytes.len() - 1]), None);
    assert_eq!(Filter::from_bytes(&[]), None);
}
