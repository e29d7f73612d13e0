//! Source of a template to tokens, by the lexical rules of Go's text/template.

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text outside of actions, already trimmed.
    Text(String),
    Open,
    Close,
    /// `.Name`, without the dot.
    Field(String),
    /// `$name`, with the dollar.
    Variable(String),
    /// A keyword, function, `true`, `false` or `nil`.
    Word(String),
    Number(String),
    Character(String),
    /// A string of either quotes, unquoted.
    Quoted(String),
    Dot,
    Assign,
    Declare,
    Pipe,
    LeftParenthesis,
    RightParenthesis,
    /// Any other printable character, the comma among them.
    Other(char),
    Error(String),
    End,
}

/// A token and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether white space stands before it.
    pub(super) spaced: bool,
}

const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// The tokens of `source`; the last one is an error or the end.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { source, at: 0, spaced: false, trim: false, depth: 0, tokens: Vec::new() };
    if let Err(message) = lexer.run() {
        lexer.push(Kind::Error(message), lexer.at);
    }
    lexer.tokens
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    spaced: bool,
    /// Whether the action before ended with a trim marker.
    trim: bool,
    depth: usize,
    tokens: Vec<Token>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn push(&mut self, kind: Kind, start: usize) {
        let spaced = std::mem::take(&mut self.spaced);
        self.tokens.push(Token { kind, start, end: self.at, spaced });
    }

    fn run(&mut self) -> Result<(), String> {
        loop {
            let start = self.at;
            let length = self.rest().find(OPEN);
            let mut text = &self.rest()[..length.unwrap_or(self.rest().len())];
            self.at += text.len();
            if self.trim {
                text = text.trim_start_matches(is_space);
            }
            let trims = length.is_some() && opens_with_trim(&self.rest()[OPEN.len()..]);
            if trims {
                text = text.trim_end_matches(is_space);
            }
            if !text.is_empty() {
                self.push(Kind::Text(text.to_owned()), start);
            }
            if length.is_none() {
                self.push(Kind::End, self.at);
                return Ok(());
            }
            self.action(trims)?;
        }
    }

    fn action(&mut self, trims: bool) -> Result<(), String> {
        let start = self.at;
        self.at += OPEN.len() + if trims { 2 } else { 0 };
        let comment = self.rest().trim_start_matches(is_space);
        if comment.starts_with("/*") && (trims || self.rest().starts_with("/*")) {
            self.at = self.source.len() - comment.len();
            return self.comment();
        }
        self.push(Kind::Open, start);
        self.depth = 0;
        while !self.close()? {
            self.inside()?;
        }
        Ok(())
    }

    fn comment(&mut self) -> Result<(), String> {
        let end = self.rest().find("*/").ok_or("unclosed comment")?;
        self.at += end + 2;
        let rest = self.rest();
        let trimmed = rest.trim_start_matches(is_space);
        self.trim = trimmed.len() < rest.len() && trimmed.starts_with("-}}");
        let close = if self.trim { trimmed[1..].strip_prefix(CLOSE) } else { rest.strip_prefix(CLOSE) };
        let after = close.ok_or("comment ends before closing delimiter")?;
        self.at = self.source.len() - after.len();
        Ok(())
    }

    /// Skips space and takes the end of the action if it is there.
    fn close(&mut self) -> Result<bool, String> {
        let rest = self.rest();
        let trimmed = rest.trim_start_matches(is_space);
        let spaces = rest.len() - trimmed.len();
        let trims = spaces > 0 && trimmed.starts_with("-}}");
        if !trims && !trimmed.starts_with(CLOSE) {
            self.at += spaces;
            self.spaced = spaces > 0;
            return Ok(false);
        }
        if self.depth > 0 {
            return Err("unclosed left paren".to_owned());
        }
        let start = self.at + spaces;
        self.at = start + CLOSE.len() + usize::from(trims);
        self.trim = trims;
        self.push(Kind::Close, start);
        Ok(true)
    }

    fn inside(&mut self) -> Result<(), String> {
        let start = self.at;
        let mut characters = self.rest().chars();
        let first = characters.next().ok_or("unclosed action")?;
        let second = characters.next().unwrap_or('\0');
        self.at += first.len_utf8();
        let kind = match first {
            '"' => self.quoted(start)?,
            '`' => {
                let length = self.rest().find('`').ok_or("unterminated raw quoted string")?;
                self.at += length + 1;
                Kind::Quoted(self.source[start + 1..self.at - 1].to_owned())
            }
            '\'' => self.character(start)?,
            '=' => Kind::Assign,
            ':' if second == '=' => {
                self.at += 1;
                Kind::Declare
            }
            ':' => return Err("expected :=".to_owned()),
            '|' => Kind::Pipe,
            '(' => {
                self.depth += 1;
                Kind::LeftParenthesis
            }
            ')' => {
                self.depth = self.depth.checked_sub(1).ok_or("unexpected right paren")?;
                Kind::RightParenthesis
            }
            '$' => Kind::Variable(format!("${}", self.name())),
            '.' if second.is_ascii_digit() => self.number(start)?,
            '.' => match self.name() {
                "" => Kind::Dot,
                name => Kind::Field(name.to_owned()),
            },
            '+' | '-' if second.is_ascii_digit() || second == '.' => self.number(start)?,
            '0'..='9' => self.number(start)?,
            c if c == '_' || c.is_alphabetic() => {
                self.name();
                Kind::Word(self.source[start..self.at].to_owned())
            }
            c if c == ' ' || c.is_ascii_graphic() => Kind::Other(c),
            c => return Err(format!("unrecognized character in action: U+{:04X}", u32::from(c))),
        };
        self.push(kind, start);
        Ok(())
    }

    /// Takes letters, digits and underscores.
    fn name(&mut self) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn number(&mut self, start: usize) -> Result<Kind, String> {
        let rest = &self.source[start..];
        let mut previous = ' ';
        let length = rest
            .find(|c: char| {
                let exponent = matches!(previous, 'e' | 'E') && !rest.starts_with("0x");
                let sign = matches!(c, '+' | '-') && (previous == ' ' || exponent);
                previous = c;
                !(sign || c == '.' || c == '_' || c.is_alphanumeric())
            })
            .unwrap_or(rest.len());
        self.at = start + length;
        let text = &rest[..length];
        super::number::parse(text).map(|_| Kind::Number(text.to_owned()))
    }

    /// The end of a string or character: the quote that no backslash precedes.
    fn until(&mut self, quote: char) -> Option<&'a str> {
        let rest = self.rest();
        let mut escaped = false;
        let length = rest.find(|c: char| {
            let ends = !escaped && (c == quote || c == '\n');
            escaped = !escaped && c == '\\';
            ends
        })?;
        self.at += length + 1;
        rest[length..].starts_with(quote).then(|| &rest[..length])
    }

    fn quoted(&mut self, start: usize) -> Result<Kind, String> {
        let inner = self.until('"').ok_or("unterminated quoted string")?;
        let text = super::number::unescape(inner, '"');
        text.map(Kind::Quoted).ok_or_else(|| format!("invalid syntax: {}", &self.source[start..self.at]))
    }

    fn character(&mut self, start: usize) -> Result<Kind, String> {
        let inner = self.until('\'').ok_or("unterminated character constant")?;
        let text = super::number::unescape(inner, '\'').filter(|text| text.chars().count() == 1);
        let malformed = || format!("malformed character constant: {}", &self.source[start..self.at]);
        text.map(Kind::Character).ok_or_else(malformed)
    }
}

fn opens_with_trim(after: &str) -> bool {
    after.strip_prefix('-').is_some_and(|rest| rest.starts_with(is_space))
}

const fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}
