//! What `--chmod` asks for: a number, or the letters of chmod(1).

/// A change of permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModeChange(Change);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Exact(u32),
    Clauses(Vec<Clause>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Clause {
    /// Which of the nine bits it is about.
    who: u32,
    operator: char,
    /// The bits, repeated for user, group and others.
    bits: u32,
    /// The set-id and sticky bits.
    special: u32,
    /// `X`: execution, for directories and what somebody may execute already.
    searchable: bool,
}

impl ModeChange {
    /// Reads `755`, `u=rwX,go=rX` and the like; nothing if it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777)?;
            return Some(Self(Change::Exact(mode)));
        }
        let clauses: Option<Vec<Vec<Clause>>> = text.split(',').map(clauses).collect();
        Some(Self(Change::Clauses(clauses?.concat())))
    }

    /// The permissions of a node that had `mode`.
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match &self.0 {
            Change::Exact(mode) => *mode,
            Change::Clauses(clauses) => {
                clauses.iter().fold(mode, |mode, clause| clause.apply(mode, is_directory))
            }
        }
    }
}

impl Clause {
    fn apply(self, mode: u32, is_directory: bool) -> u32 {
        let mut bits = self.bits;
        if self.searchable && (is_directory || mode & 0o111 != 0) {
            bits |= 0o111;
        }
        let change = bits & self.who | self.special;
        match self.operator {
            '+' => mode | change,
            '-' => mode & !change,
            _ => mode & !self.who | change,
        }
    }
}

/// One part between commas: who, then operators with letters.
fn clauses(text: &str) -> Option<Vec<Clause>> {
    let start = text.find(['+', '-', '='])?;
    let (mut who, mut set_id) = (0, 0);
    for letter in text[..start].chars() {
        let (bits, special) = match letter {
            'u' => (0o700, 0o4000),
            'g' => (0o070, 0o2000),
            'o' => (0o007, 0),
            'a' => (0o777, 0o6000),
            _ => return None,
        };
        (who, set_id) = (who | bits, set_id | special);
    }
    if start == 0 {
        (who, set_id) = (0o777, 0o6000);
    }
    let mut clauses = Vec::new();
    for letter in text[start..].chars() {
        if matches!(letter, '+' | '-' | '=') {
            clauses.push(Clause { who, operator: letter, bits: 0, special: 0, searchable: false });
            continue;
        }
        let clause = clauses.last_mut()?;
        match letter {
            'r' => clause.bits |= 0o444,
            'w' => clause.bits |= 0o222,
            'x' => clause.bits |= 0o111,
            'X' => clause.searchable = true,
            's' => clause.special |= set_id,
            't' => clause.special |= 0o1000,
            _ => return None,
        }
    }
    Some(clauses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_letters_mean_what_chmod_means() {
        let apply =
            |text: &str, mode, is_directory| ModeChange::parse(text).unwrap().apply(mode, is_directory);
        assert_eq!(apply("755", 0o644, false), 0o755);
        assert_eq!(apply("4711", 0o644, false), 0o4711);
        assert_eq!(apply("u=rwX,go=rX", 0o600, false), 0o644);
        assert_eq!(apply("u=rwX,go=rX", 0o700, false), 0o755);
        assert_eq!(apply("u=rwX,go=rX", 0o600, true), 0o755);
        assert_eq!(apply("+x", 0o644, false), 0o755);
        assert_eq!(apply("go-rwx", 0o777, false), 0o700);
        assert_eq!(apply("u+s", 0o755, false), 0o4755);
        assert_eq!(apply("a+t", 0o755, true), 0o1755);
        for wrong in ["99", "rwx", "u", "77777", "u+q", "z=r"] {
            assert_eq!(ModeChange::parse(wrong), None, "{wrong}");
        }
    }
}
