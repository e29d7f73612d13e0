//! A profile as docker writes it, and what it says for one host and one set of capabilities.

use super::abi::Abi;
use serde::Deserialize;

/// Why a profile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Not JSON, or not in the form of a profile.
    #[error("decoding seccomp profile failed: {problem}")]
    Decode {
        /// Where and what.
        problem: String,
    },
    /// Two fields that say the same in two forms.
    #[error(
        "'{first}' and '{second}' were specified in the seccomp profile, use either '{first}' or '{second}'"
    )]
    Both {
        /// One field.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// A word that has no meaning there.
    #[error("{value:?} is not a valid {field} of a seccomp profile")]
    Invalid {
        /// Where.
        field: &'static str,
        /// What was there.
        value: String,
    },
    /// A word whose meaning this version does not carry out.
    #[error("{value} in a seccomp profile is not supported")]
    Unsupported {
        /// What was there.
        value: String,
    },
    /// More than the kernel takes.
    #[error("the seccomp profile makes a filter of {count} instructions, the kernel takes 4096")]
    TooLong {
        /// How many it would be.
        count: usize,
    },
}

/// The machine and the rights that a profile's conditions ask for.
pub(crate) struct Host<'a> {
    /// How ordinary programs call the kernel.
    pub(crate) abi: Abi,
    /// Version and patch level of the kernel.
    pub(crate) kernel: (u32, u32),
    /// Whether the bounding set has a capability, by its name with `CAP_`.
    pub(crate) has_capability: &'a dyn Fn(&str) -> bool,
}

/// What is left of a profile when its conditions are resolved.
#[derive(Debug)]
pub(crate) struct Rules {
    /// The kernel's word (`SECCOMP_RET_*`) for what no rule names.
    pub(crate) default: u32,
    /// The conventions that the filter lets in.
    pub(crate) abis: Vec<Abi>,
    pub(crate) rules: Vec<Rule>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub(crate) flags: u32,
}

/// What happens to some calls.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) names: Vec<String>,
    /// `SECCOMP_RET_*`.
    pub(crate) action: u32,
    /// All must hold.
    pub(crate) comparisons: Vec<Comparison>,
}

/// A condition on an argument.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Comparison {
    /// Which argument, 0 to 5.
    pub(crate) index: u8,
    pub(crate) operator: Operator,
    /// What it is compared with; the mask of a masked comparison.
    pub(crate) value: u64,
    /// What a masked argument must be.
    pub(crate) second: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Operator {
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    default_action: Option<String>,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<Architecture>>,
    flags: Option<Vec<String>>,
    listener_path: Option<String>,
    syscalls: Option<Vec<Block>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Architecture {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u32>,
    args: Option<Vec<Argument>>,
    includes: Option<Conditions>,
    excludes: Option<Conditions>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: Operator,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Conditions {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// `SECCOMP_RET_ALLOW` and its like (`linux/seccomp.h`).
pub(crate) mod word {
    pub(crate) const KILL_PROCESS: u32 = 0x8000_0000;
    pub(crate) const KILL_THREAD: u32 = 0;
    pub(crate) const TRAP: u32 = 0x0003_0000;
    pub(crate) const ERRNO: u32 = 0x0005_0000;
    pub(crate) const TRACE: u32 = 0x7FF0_0000;
    pub(crate) const LOG: u32 = 0x7FFC_0000;
    pub(crate) const ALLOW: u32 = 0x7FFF_0000;
}

const EPERM: u32 = 1;

/// What runc loads a filter with when its profile names no flags: no slowed-down memory accesses.
const FLAG_SPEC_ALLOW: u32 = 1 << 2;

/// Reads a profile for a host; `None` if it says nothing at all, which docker takes as no filter.
pub(crate) fn resolve(json: &str, host: &Host<'_>) -> Result<Option<Rules>, ProfileError> {
    let document: Document =
        serde_json::from_str(json).map_err(|error| ProfileError::Decode { problem: error.to_string() })?;
    let blocks = document.syscalls.unwrap_or_default();
    let default = match document.default_action.as_deref() {
        None | Some("") if blocks.is_empty() => return Ok(None),
        None => return Err(invalid("defaultAction", "")),
        Some(action) => action_word("defaultAction", action, document.default_errno_ret)?,
    };
    if document.listener_path.is_some_and(|path| !path.is_empty()) {
        return Err(ProfileError::Unsupported { value: "listenerPath".to_owned() });
    }
    let abis = abis(document.architectures, document.arch_map, host.abi)?;
    let flags = flags(document.flags.as_deref().unwrap_or_default())?;
    let mut rules = Vec::new();
    for block in blocks {
        add(&mut rules, block, default, host)?;
    }
    Ok(Some(Rules { default, abis, rules, flags }))
}

/// Adds the rules that a block makes, if its conditions hold.
fn add(rules: &mut Vec<Rule>, block: Block, default: u32, host: &Host<'_>) -> Result<(), ProfileError> {
    let names = match (block.name.filter(|name| !name.is_empty()), block.names.unwrap_or_default()) {
        (Some(_), names) if !names.is_empty() => {
            return Err(ProfileError::Both { first: "name", second: "names" });
        }
        (Some(name), _) => vec![name],
        (None, names) => names,
    };
    let action = action_word("action", &block.action, block.errno_ret)?;
    let arguments = block.args.unwrap_or_default();
    if let Some(argument) = arguments.iter().find(|argument| argument.index > 5) {
        return Err(invalid("args index", &argument.index.to_string()));
    }
    let is_excluded = match &block.excludes {
        Some(excludes) => holds(excludes, host)?.contains(&true),
        None => false,
    };
    let is_included = match &block.includes {
        Some(includes) => is_all(includes, host)?,
        None => true,
    };
    if is_excluded || !is_included || action == default {
        return Ok(());
    }
    let comparisons: Vec<Comparison> = arguments.iter().map(comparison).collect();
    let mut seen = [false; 6];
    let has_repeated = comparisons
        .iter()
        .any(|comparison| std::mem::replace(&mut seen[usize::from(comparison.index)], true));
    if has_repeated {
        // As runc has it: an argument named twice makes alternatives of all conditions.
        for comparison in comparisons {
            rules.push(Rule { names: names.clone(), action, comparisons: vec![comparison] });
        }
    } else {
        rules.push(Rule { names, action, comparisons });
    }
    Ok(())
}

fn comparison(argument: &Argument) -> Comparison {
    Comparison {
        index: argument.index,
        operator: argument.op,
        value: argument.value,
        second: argument.value_two,
    }
}

/// Each thing that a condition names, and whether it is so.
fn holds(conditions: &Conditions, host: &Host<'_>) -> Result<Vec<bool>, ProfileError> {
    let mut found = Vec::new();
    if let Some(arches) = conditions.arches.as_ref().filter(|arches| !arches.is_empty()) {
        found.push(arches.iter().any(|name| name == host.abi.condition()));
    }
    found.extend(conditions.caps.iter().flatten().map(|name| (host.has_capability)(name)));
    if let Some(least) = conditions.min_kernel.as_deref().filter(|text| !text.is_empty()) {
        found.push(host.kernel >= kernel_version(least)?);
    }
    Ok(found)
}

fn is_all(conditions: &Conditions, host: &Host<'_>) -> Result<bool, ProfileError> {
    Ok(!holds(conditions, host)?.contains(&false))
}

fn kernel_version(text: &str) -> Result<(u32, u32), ProfileError> {
    let parsed = text
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?)));
    parsed.ok_or_else(|| invalid("minKernel", text))
}

fn abis(
    listed: Option<Vec<String>>,
    map: Option<Vec<Architecture>>,
    native: Abi,
) -> Result<Vec<Abi>, ProfileError> {
    let (listed, map) = (listed.unwrap_or_default(), map.unwrap_or_default());
    if !listed.is_empty() && !map.is_empty() {
        return Err(ProfileError::Both { first: "architectures", second: "archMap" });
    }
    let mapped = map.into_iter().find(|entry| Abi::of_profile(&entry.architecture) == Some(native));
    let subordinate = mapped.and_then(|entry| entry.sub_architectures).unwrap_or_default();
    let mut abis = vec![native];
    for name in listed.iter().chain(&subordinate) {
        if !name.starts_with("SCMP_ARCH_") {
            return Err(invalid("architecture", name));
        }
        // Programs of the others cannot run here.
        abis.extend(Abi::of_profile(name));
    }
    abis.sort_unstable();
    abis.dedup();
    Ok(abis)
}

fn flags(names: &[String]) -> Result<u32, ProfileError> {
    if names.is_empty() {
        return Ok(FLAG_SPEC_ALLOW);
    }
    names.iter().try_fold(0, |flags, name| match name.as_str() {
        "SECCOMP_FILTER_FLAG_TSYNC" => Ok(flags | 1),
        "SECCOMP_FILTER_FLAG_LOG" => Ok(flags | 1 << 1),
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(flags | FLAG_SPEC_ALLOW),
        // Says how a listener waits, and there is none.
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => Err(ProfileError::Unsupported { value: name.clone() }),
        _ => Err(invalid("flag", name)),
    })
}

fn action_word(field: &'static str, name: &str, errno: Option<u32>) -> Result<u32, ProfileError> {
    let data = errno.unwrap_or(EPERM);
    if data > 0xFFFF {
        return Err(invalid("errnoRet", &data.to_string()));
    }
    Ok(match name {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => word::KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => word::KILL_PROCESS,
        "SCMP_ACT_TRAP" => word::TRAP,
        "SCMP_ACT_ERRNO" => word::ERRNO | data,
        "SCMP_ACT_TRACE" => word::TRACE | data,
        "SCMP_ACT_LOG" => word::LOG,
        "SCMP_ACT_ALLOW" => word::ALLOW,
        "SCMP_ACT_NOTIFY" => return Err(ProfileError::Unsupported { value: name.to_owned() }),
        _ => return Err(invalid(field, name)),
    })
}

fn invalid(field: &'static str, value: &str) -> ProfileError {
    ProfileError::Invalid { field, value: value.to_owned() }
}
