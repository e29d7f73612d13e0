//! From rules to the kernel's filter language (classic BPF): one binary tree per architecture.
//!
//! A list of comparisons, as other compilers write it, is walked for each system call; in a tree the
//! longest way is the logarithm of it. All jumps go forward, so a part is complete when its halves are.

use super::abi::{Abi, Numbers, X32_BIT};
use super::profile::{Comparison, Operator, ProfileError, Rule, Rules, word};
use std::collections::{BTreeMap, BTreeSet};

/// One instruction (`struct sock_filter` of `linux/filter.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) if_true: u8,
    pub(crate) if_false: u8,
    pub(crate) operand: u32,
}

/// Load a word of `struct seccomp_data`.
pub(crate) const LOAD: u16 = 0x20;
/// Keep the bits of a mask.
pub(crate) const AND: u16 = 0x54;
/// Jump.
pub(crate) const JUMP: u16 = 0x05;
/// Jump if equal.
pub(crate) const JUMP_EQUAL: u16 = 0x15;
/// Jump if greater.
pub(crate) const JUMP_GREATER: u16 = 0x25;
/// Jump if greater or equal.
pub(crate) const JUMP_NOT_LESS: u16 = 0x35;
/// End with a word.
pub(crate) const RETURN: u16 = 0x06;

/// Where `struct seccomp_data` has the call's number, the architecture, the first argument.
const NUMBER_OFFSET: u32 = 0;
const ARCHITECTURE_OFFSET: u32 = 4;
const ARGUMENTS_OFFSET: u32 = 16;

/// `BPF_MAXINSNS`.
const INSTRUCTION_COUNT_MAX: usize = 4096;

const ENOSYS: u32 = 38;

impl Instruction {
    const fn new(code: u16, operand: u32) -> Self {
        Self { code, if_true: 0, if_false: 0, operand }
    }

    const fn branch(code: u16, operand: u32, (if_true, if_false): (u8, u8)) -> Self {
        Self { code, if_true, if_false, operand }
    }

    /// As the kernel reads it on a little-endian machine; all of ours are.
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        let code = self.code.to_le_bytes();
        let operand = self.operand.to_le_bytes();
        [code[0], code[1], self.if_true, self.if_false, operand[0], operand[1], operand[2], operand[3]]
    }
}

/// What happens to the calls of a range of numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Return(u32),
    /// Code that ends by itself.
    Ask(Vec<Instruction>),
}

/// Compiles rules.
pub(crate) fn compile(rules: &Rules) -> Result<Vec<Instruction>, ProfileError> {
    let numbers = Numbers::open();
    let mut program = vec![Instruction::new(LOAD, ARCHITECTURE_OFFSET)];
    let audits: BTreeSet<u32> = rules.abis.iter().map(|abi| abi.audit()).collect();
    for audit in audits.into_iter().rev() {
        let mut starts = BTreeMap::new();
        for abi in rules.abis.iter().filter(|abi| abi.audit() == audit) {
            region(&mut starts, rules, *abi, &numbers);
        }
        if audit == Abi::X86_64.audit() && !rules.abis.contains(&Abi::X32) {
            starts.insert(X32_BIT, Outcome::Return(word::KILL_PROCESS));
            // What a tracer makes of a call that it cancels.
            starts.insert(u32::MAX, beyond(rules));
        }
        let section = section(starts);
        program.push(Instruction::branch(JUMP_EQUAL, audit, (1, 0)));
        program.push(Instruction::new(JUMP, section.len() as u32));
        program.extend(section);
    }
    program.push(Instruction::new(RETURN, word::KILL_PROCESS));
    if program.len() > INSTRUCTION_COUNT_MAX {
        return Err(ProfileError::TooLong { count: program.len() });
    }
    Ok(program)
}

/// Enters where ranges of numbers of a convention start, and what happens there.
fn region(starts: &mut BTreeMap<u32, Outcome>, rules: &Rules, abi: Abi, numbers: &Numbers) {
    let mut calls: BTreeMap<u32, (&str, Vec<&Rule>)> = BTreeMap::new();
    for rule in &rules.rules {
        for name in &rule.names {
            if let Some(number) = numbers.number(abi, name) {
                calls.entry(number).or_insert((name, Vec::new())).1.push(rule);
            }
        }
    }
    let first = if abi == Abi::X32 { X32_BIT } else { 0 };
    let default = Outcome::Return(rules.default);
    let last = calls.keys().rev().find(|number| **number < abi.private_numbers()).copied();
    starts.insert(first, default.clone());
    if let Some(last) = last {
        starts.insert(last + 1, beyond(rules));
    } else {
        starts.insert(first, beyond(rules));
    }
    for (number, (name, rules_of_call)) in calls {
        let after = if last.is_none_or(|last| number >= last) { beyond(rules) } else { default.clone() };
        starts.insert(number, outcome(rules, abi, name, &rules_of_call));
        starts.entry(number + 1).or_insert(after);
    }
}

/// What happens to calls that are newer than all that the profile names: a program that asks for them
/// must hear that they are missing, not that they are forbidden, to fall back to older ones.
fn beyond(rules: &Rules) -> Outcome {
    let is_open = matches!(rules.default & 0xFFFF_0000, word::ALLOW | word::LOG | word::TRACE);
    Outcome::Return(if is_open { rules.default } else { word::ERRNO | ENOSYS })
}

/// A rule without conditions wins over those with; among these the first that holds.
fn outcome(rules: &Rules, abi: Abi, name: &str, of_call: &[&Rule]) -> Outcome {
    if let Some(rule) = of_call.iter().find(|rule| rule.comparisons.is_empty()) {
        return Outcome::Return(rule.action);
    }
    let mut code = Vec::new();
    for rule in of_call {
        code.extend(conditional(rule, abi, name));
    }
    code.push(Instruction::new(RETURN, rules.default));
    Outcome::Ask(code)
}

/// Whether the kernel takes an argument as an `int` whatever is in its upper half: comparing that too
/// would let a forbidden value pass in disguise.
pub(crate) fn is_int(name: &str, index: u8) -> bool {
    matches!((name, index), ("socket", 0..=2) | ("personality", 0))
}

/// Where a comparison goes on.
#[derive(Debug, Clone, Copy)]
enum Way {
    Next,
    Pass,
    Fail,
}

/// A comparison's step, its ways not yet laid out.
#[derive(Debug, Clone, Copy)]
enum Step {
    Load(u32),
    And(u32),
    Branch(u16, u32, Way, Way),
}

/// The rule's action if all its comparisons hold, else what follows.
fn conditional(rule: &Rule, abi: Abi, name: &str) -> Vec<Instruction> {
    let mut steps: Vec<(Step, usize)> = Vec::new();
    for comparison in &rule.comparisons {
        let is_wide = abi.has_wide_arguments() && !is_int(name, comparison.index);
        let own = steps_of(comparison, is_wide);
        let end = steps.len() + own.len();
        steps.extend(own.into_iter().map(|step| (step, end)));
    }
    let fail = steps.len() + 1;
    let mut code = Vec::with_capacity(fail);
    for (position, (step, pass)) in steps.into_iter().enumerate() {
        // At most six arguments with seven steps each: every distance fits.
        let distance = |way| match way {
            Way::Next => 0,
            Way::Pass => (pass - position - 1) as u8,
            Way::Fail => (fail - position - 1) as u8,
        };
        code.push(match step {
            Step::Load(offset) => Instruction::new(LOAD, offset),
            Step::And(mask) => Instruction::new(AND, mask),
            Step::Branch(test, operand, if_true, if_false) => {
                Instruction::branch(test, operand, (distance(if_true), distance(if_false)))
            }
        });
    }
    code.push(Instruction::new(RETURN, rule.action));
    code
}

fn steps_of(comparison: &Comparison, is_wide: bool) -> Vec<Step> {
    use Way::{Fail, Next, Pass};
    let low_offset = ARGUMENTS_OFFSET + 8 * u32::from(comparison.index);
    let (low, high) = (comparison.value as u32, (comparison.value >> 32) as u32);
    let mut steps = Vec::with_capacity(7);
    if is_wide {
        steps.push(Step::Load(low_offset + 4));
        match comparison.operator {
            Operator::Equal => steps.push(Step::Branch(JUMP_EQUAL, high, Next, Fail)),
            Operator::NotEqual => steps.push(Step::Branch(JUMP_EQUAL, high, Next, Pass)),
            Operator::Greater | Operator::GreaterOrEqual => steps.extend([
                Step::Branch(JUMP_GREATER, high, Pass, Next),
                Step::Branch(JUMP_EQUAL, high, Next, Fail),
            ]),
            Operator::Less | Operator::LessOrEqual => steps.extend([
                Step::Branch(JUMP_GREATER, high, Fail, Next),
                Step::Branch(JUMP_EQUAL, high, Next, Pass),
            ]),
            Operator::MaskedEqual => {
                let wanted = (comparison.second >> 32) as u32 & high;
                steps.extend([Step::And(high), Step::Branch(JUMP_EQUAL, wanted, Next, Fail)]);
            }
        }
    }
    steps.push(Step::Load(low_offset));
    let last = match comparison.operator {
        Operator::Equal => Step::Branch(JUMP_EQUAL, low, Pass, Fail),
        Operator::NotEqual => Step::Branch(JUMP_EQUAL, low, Fail, Pass),
        Operator::Greater => Step::Branch(JUMP_GREATER, low, Pass, Fail),
        Operator::GreaterOrEqual => Step::Branch(JUMP_NOT_LESS, low, Pass, Fail),
        Operator::LessOrEqual => Step::Branch(JUMP_GREATER, low, Fail, Pass),
        Operator::Less => Step::Branch(JUMP_NOT_LESS, low, Fail, Pass),
        Operator::MaskedEqual => {
            steps.push(Step::And(low));
            Step::Branch(JUMP_EQUAL, comparison.second as u32 & low, Pass, Fail)
        }
    };
    steps.push(last);
    steps
}

/// The code for one architecture: loads the number and walks the tree.
fn section(starts: BTreeMap<u32, Outcome>) -> Vec<Instruction> {
    let mut ranges: Vec<(u32, Outcome)> = Vec::new();
    for (start, outcome) in starts {
        if ranges.last().is_none_or(|(_, last)| *last != outcome) {
            ranges.push((start, outcome));
        }
    }
    let mut code = vec![Instruction::new(LOAD, NUMBER_OFFSET)];
    code.extend(tree(&ranges));
    code
}

fn tree(ranges: &[(u32, Outcome)]) -> Vec<Instruction> {
    if let Some(code) = compact_tree(ranges) {
        return code;
    }
    match ranges {
        [] => Vec::new(),
        [(_, Outcome::Return(value))] => vec![Instruction::new(RETURN, *value)],
        [(_, Outcome::Ask(code))] => code.clone(),
        _ => {
            let (lower, upper) = ranges.split_at(ranges.len() / 2);
            let (below, above) = (tree(lower), tree(upper));
            let boundary = upper[0].0;
            let mut code = match u8::try_from(below.len()) {
                Ok(distance) => vec![Instruction::branch(JUMP_NOT_LESS, boundary, (distance, 0))],
                Err(_) => vec![
                    Instruction::branch(JUMP_NOT_LESS, boundary, (0, 1)),
                    Instruction::new(JUMP, below.len() as u32),
                ],
            };
            code.extend(below);
            code.extend(above);
            code
        }
    }
}

/// How many ranges a compact tree has at most, so that each distance in it fits a branch.
const COMPACT_COUNT_MAX: usize = 120;

/// A tree that ends in shared returns, which halves its length; the kernel translates each instruction
/// of a filter when it is loaded. `None` where the ranges need more than that.
fn compact_tree(ranges: &[(u32, Outcome)]) -> Option<Vec<Instruction>> {
    if !(2..=COMPACT_COUNT_MAX).contains(&ranges.len()) {
        return None;
    }
    let mut ends = Vec::with_capacity(ranges.len());
    let mut values: Vec<u32> = Vec::new();
    for (_, outcome) in ranges {
        let Outcome::Return(value) = outcome else { return None };
        let known = values.iter().position(|known| known == value);
        ends.push(known.unwrap_or(values.len()));
        if known.is_none() {
            values.push(*value);
        }
    }
    let mut code = Vec::with_capacity(ranges.len() + values.len());
    place(&mut code, ranges, &ends, ranges.len() - 1);
    code.extend(values.into_iter().map(|value| Instruction::new(RETURN, value)));
    Some(code)
}

/// Lays out the branches over `ranges`, which end in the returns number `ends` from `returns` on.
fn place(code: &mut Vec<Instruction>, ranges: &[(u32, Outcome)], ends: &[usize], returns: usize) {
    let middle = ranges.len() / 2;
    let position = code.len();
    // A half of several ranges has one branch less than that.
    let target = |half: &[usize], start: usize| match half {
        [end] => returns + end,
        _ => start,
    };
    let (below, above) = ends.split_at(middle);
    let distance = |target: usize| (target - position - 1) as u8;
    let ways = (distance(target(above, position + middle)), distance(target(below, position + 1)));
    code.push(Instruction::branch(JUMP_NOT_LESS, ranges[middle].0, ways));
    if below.len() > 1 {
        place(code, &ranges[..middle], below, returns);
    }
    if above.len() > 1 {
        place(code, &ranges[middle..], above, returns);
    }
}
