//! Tokens to a tree, with the complaints of Go's text/template.

use super::ast::{Branch, Command, Node, Operand, OperandKind, Pipeline, Place};
use super::function;
use super::lexer::{Kind, Token, tokens};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// How deep parentheses and actions may be nested.
const NESTING_MAX: usize = 100;

/// A complaint and the byte it is about.
#[derive(Debug)]
pub(super) struct Complaint {
    pub(super) at: usize,
    pub(super) reason: String,
}

/// Named trees; the main one is beside them.
pub(super) type Definitions = BTreeMap<String, Vec<Node>>;

/// Parses `source` into its main tree and those that it defines.
pub(super) fn parse(source: &str) -> Result<(Vec<Node>, Definitions), Complaint> {
    let mut parser = Parser {
        tokens: tokens(source),
        index: 0,
        variables: vec!["$".to_owned()],
        definitions: Definitions::new(),
        depth: 0,
        ranges: 0,
    };
    let (main, ending) = parser.list()?;
    match ending {
        Ending::Source => Ok((main, parser.definitions)),
        Ending::End => parser.fail("unexpected {{end}}"),
        Ending::Else => parser.fail("unexpected {{else}}"),
    }
}

/// What a list of nodes stopped at; the word itself is taken, what follows it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Source,
    End,
    Else,
}

struct Parser {
    tokens: Vec<Token>,
    index: usize,
    variables: Vec<String>,
    definitions: Definitions,
    depth: usize,
    ranges: usize,
}

type Parsed<T> = Result<T, Complaint>;

impl Parser {
    fn fail<T>(&self, reason: impl Into<String>) -> Parsed<T> {
        let index = self.index.saturating_sub(1).min(self.tokens.len() - 1);
        Err(Complaint { at: self.tokens[index].start, reason: reason.into() })
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.index.min(self.tokens.len() - 1)]
    }

    /// Takes the next token; an error of the lexer becomes ours when it is reached.
    fn take(&mut self) -> Parsed<Token> {
        let token = self.peek().clone();
        self.index = (self.index + 1).min(self.tokens.len());
        match token.kind {
            Kind::Error(reason) => Err(Complaint { at: token.start, reason }),
            _ => Ok(token),
        }
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Parsed<T> {
        let shown = match &token.kind {
            Kind::End => "EOF".to_owned(),
            Kind::Dot => "<.>".to_owned(),
            Kind::Word(word) if is_keyword(word) => format!("<{word}>"),
            Kind::Word(text) | Kind::Number(text) => format!("{text:?}"),
            Kind::Quoted(text) => format!("{:?}", format!("{text:?}")),
            Kind::Field(name) => format!("\".{name}\""),
            Kind::Variable(name) => format!("{name:?}"),
            Kind::Character(text) => format!("\"'{text}'\""),
            Kind::Other(character) => format!("\"{character}\""),
            Kind::Text(_) => "text".to_owned(),
            Kind::Open => "\"{{\"".to_owned(),
            Kind::Close => "\"}}\"".to_owned(),
            Kind::Assign => "\"=\"".to_owned(),
            Kind::Declare => "\":=\"".to_owned(),
            Kind::Pipe => "\"|\"".to_owned(),
            Kind::LeftParenthesis => "\"(\"".to_owned(),
            Kind::RightParenthesis => "\")\"".to_owned(),
            Kind::Error(reason) => reason.clone(),
        };
        self.fail(if token.kind == Kind::End {
            "unexpected EOF".to_owned()
        } else {
            format!("unexpected {shown} in {context}")
        })
    }

    fn enter(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > NESTING_MAX { self.fail("nested too deeply") } else { Ok(()) }
    }

    fn list(&mut self) -> Parsed<(Vec<Node>, Ending)> {
        self.enter()?;
        let mut nodes = Vec::new();
        let ending = loop {
            let token = self.take()?;
            match token.kind {
                Kind::End => break Ending::Source,
                Kind::Text(text) => nodes.push(Node::Text(text)),
                _ => match self.peek().kind.clone() {
                    Kind::Word(word) if word == "end" => {
                        self.take()?;
                        self.close("end")?;
                        break Ending::End;
                    }
                    Kind::Word(word) if word == "else" => {
                        self.take()?;
                        break Ending::Else;
                    }
                    _ => nodes.extend(self.action(token.start)?),
                },
            }
        };
        self.depth -= 1;
        Ok((nodes, ending))
    }

    fn close(&mut self, context: &str) -> Parsed<()> {
        let token = self.take()?;
        if token.kind == Kind::Close { Ok(()) } else { self.unexpected(&token, context) }
    }

    fn action(&mut self, start: usize) -> Parsed<Option<Node>> {
        let Kind::Word(word) = self.peek().kind.clone() else { return self.plain_action().map(Some) };
        match &*word {
            "if" => self.branch(Branch::If).map(Some),
            "with" => self.branch(Branch::With).map(Some),
            "range" => self.branch(Branch::Range).map(Some),
            "break" | "continue" => self.jump(&word).map(Some),
            "template" => self.template(start).map(Some),
            "block" => self.block(start).map(Some),
            "define" => self.define().map(|()| None),
            _ => self.plain_action().map(Some),
        }
    }

    fn plain_action(&mut self) -> Parsed<Node> {
        let pipeline = self.pipeline("command", &Kind::Close)?;
        self.close("command")?;
        Ok(Node::Action(pipeline))
    }

    fn jump(&mut self, word: &str) -> Parsed<Node> {
        self.take()?;
        self.close(&format!("{{{{{word}}}}}"))?;
        if self.ranges == 0 {
            return self.fail(format!("{{{{{word}}}}} outside {{{{range}}}}"));
        }
        Ok(if word == "break" { Node::Break } else { Node::Continue })
    }

    fn branch(&mut self, kind: Branch) -> Parsed<Node> {
        self.enter()?;
        let word = match kind {
            Branch::If => "if",
            Branch::With => "with",
            Branch::Range => "range",
        };
        self.take()?;
        let mark = self.variables.len();
        let pipeline = self.pipeline(word, &Kind::Close)?;
        self.close(word)?;
        self.ranges += usize::from(kind == Branch::Range);
        let (then, ending) = self.list()?;
        self.ranges -= usize::from(kind == Branch::Range);
        let otherwise = match ending {
            Ending::End => Vec::new(),
            Ending::Else => self.otherwise(kind, word)?,
            Ending::Source => return self.fail("unexpected EOF"),
        };
        self.variables.truncate(mark);
        self.depth -= 1;
        Ok(Node::Branch { kind, pipeline, then, otherwise })
    }

    /// What follows `{{else`: the end of the action, or another branch of the same kind.
    fn otherwise(&mut self, kind: Branch, word: &str) -> Parsed<Vec<Node>> {
        if kind != Branch::Range && self.peek().kind == Kind::Word(word.to_owned()) {
            return Ok(vec![self.branch(kind)?]);
        }
        let token = self.take()?;
        if token.kind != Kind::Close {
            return self.unexpected(&token, "input");
        }
        match self.list()? {
            (nodes, Ending::End) => Ok(nodes),
            (_, Ending::Else) => self.fail("expected end; found {{else}}"),
            (_, Ending::Source) => self.fail("unexpected EOF"),
        }
    }

    fn name(&mut self, context: &str) -> Parsed<String> {
        let token = self.take()?;
        match token.kind {
            Kind::Quoted(name) => Ok(name),
            Kind::Close => self.fail(format!("missing value for {context}")),
            _ => self.unexpected(&token, context),
        }
    }

    fn template(&mut self, start: usize) -> Parsed<Node> {
        self.take()?;
        let at = self.peek().start;
        let name = self.name("template clause")?;
        let argument = match self.peek().kind {
            Kind::Close => None,
            _ => Some(self.pipeline("template clause", &Kind::Close)?),
        };
        self.close("template clause")?;
        let end = self.tokens[self.index - 1].end;
        Ok(Node::Template { name, argument, place: Place { at, start, end } })
    }

    /// The body of a definition, which sees no variables of its surroundings.
    fn body(&mut self, name: String) -> Parsed<()> {
        let outside = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let ranges = std::mem::take(&mut self.ranges);
        let (nodes, ending) = self.list()?;
        match ending {
            Ending::End => {}
            Ending::Else => return self.fail("unexpected {{else}} in define clause"),
            Ending::Source => return self.fail("unexpected EOF"),
        }
        self.variables = outside;
        self.ranges = ranges;
        self.definitions.insert(name, nodes);
        Ok(())
    }

    fn define(&mut self) -> Parsed<()> {
        if self.depth > 1 {
            let token = self.take()?;
            return self.unexpected(&token, "command");
        }
        self.take()?;
        let name = self.name("define clause")?;
        self.close("define clause")?;
        self.body(name)
    }

    fn block(&mut self, start: usize) -> Parsed<Node> {
        self.take()?;
        let at = self.peek().start;
        let name = self.name("block clause")?;
        let argument = Some(self.pipeline("block clause", &Kind::Close)?);
        self.close("block clause")?;
        let end = self.tokens[self.index - 1].end;
        self.body(name.clone())?;
        Ok(Node::Template { name, argument, place: Place { at, start, end } })
    }

    fn pipeline(&mut self, context: &str, end: &Kind) -> Parsed<Pipeline> {
        self.enter()?;
        let (variables, assigns) = self.declarations(context)?;
        let mut commands = Vec::new();
        loop {
            if self.peek().kind == *end {
                break;
            }
            commands.push(self.command(context)?);
            if self.peek().kind == Kind::Pipe {
                self.take()?;
                if self.peek().kind == *end {
                    return self.fail(format!("missing value for {context}"));
                }
            }
        }
        if commands.is_empty() {
            self.index += 1;
            return self.fail(format!("missing value for {context}"));
        }
        for (index, command) in commands.iter().enumerate().skip(1) {
            if matches!(
                command.operands[0].kind,
                OperandKind::Dot | OperandKind::Nil | OperandKind::Literal(_)
            ) {
                return self.fail(format!("non executable command in pipeline stage {}", index + 1));
            }
        }
        if !assigns {
            self.variables.extend(variables.iter().cloned());
        }
        self.depth -= 1;
        Ok(Pipeline { variables, assigns, commands })
    }

    /// `$x :=`, `$x =`, or for ranges `$k, $v :=`.
    fn declarations(&mut self, context: &str) -> Parsed<(Vec<String>, bool)> {
        let kind = |offset: usize| self.tokens.get(self.index + offset).map(|token| &token.kind);
        let (names, operator) = match (kind(0), kind(1), kind(2), kind(3)) {
            (Some(Kind::Variable(name)), Some(Kind::Assign | Kind::Declare), ..) => (vec![name.clone()], 1),
            (
                Some(Kind::Variable(key)),
                Some(Kind::Other(',')),
                Some(Kind::Variable(value)),
                Some(Kind::Assign | Kind::Declare),
            ) if context == "range" => (vec![key.clone(), value.clone()], 3),
            _ => return Ok((Vec::new(), false)),
        };
        let assigns = kind(operator) == Some(&Kind::Assign);
        self.index += operator + 1;
        if assigns && let Some(name) = names.iter().find(|name| !self.variables.contains(name)) {
            return self.fail(format!("undefined variable {name:?}"));
        }
        Ok((names, assigns))
    }

    fn command(&mut self, context: &str) -> Parsed<Command> {
        let mut operands: Vec<Operand> = Vec::new();
        loop {
            let next = self.peek().clone();
            match next.kind {
                Kind::Close | Kind::RightParenthesis | Kind::Pipe => break,
                _ if !operands.is_empty() && !next.spaced => {
                    self.take()?;
                    return self.unexpected(&next, "operand");
                }
                _ => operands.push(self.operand(context)?),
            }
        }
        match (operands.first(), operands.last()) {
            (Some(first), Some(last)) => {
                let (start, end) = (first.place.start, last.place.end);
                Ok(Command { place: Place { at: start, start, end }, operands })
            }
            _ => {
                self.index += 1;
                self.fail("empty command")
            }
        }
    }

    fn operand(&mut self, context: &str) -> Parsed<Operand> {
        let token = self.take()?;
        let mut place = Place { at: token.start, start: token.start, end: token.end };
        let kind = match token.kind.clone() {
            Kind::Dot => OperandKind::Dot,
            Kind::Number(text) => OperandKind::Literal(super::number::parse(&text).unwrap_or(Json::Null)),
            Kind::Quoted(text) => OperandKind::Literal(Json::String(text)),
            Kind::Character(text) => {
                OperandKind::Literal(Json::from(text.chars().next().map_or(0, u32::from)))
            }
            Kind::Field(name) => {
                let mut path = vec![name];
                self.fields(&mut path, &mut place);
                OperandKind::Field(path)
            }
            Kind::Variable(name) => {
                if !self.variables.contains(&name) {
                    return self.fail(format!("undefined variable {name:?}"));
                }
                let mut path = Vec::new();
                self.fields(&mut path, &mut place);
                OperandKind::Variable(name, path)
            }
            Kind::LeftParenthesis => self.nested(&mut place)?,
            Kind::Word(word) => match &*word {
                "true" | "false" => OperandKind::Literal(Json::Bool(word == "true")),
                "nil" => OperandKind::Nil,
                _ if is_keyword(&word) => return self.unexpected(&token, context),
                _ if function::exists(&word) => OperandKind::Function(word),
                _ => return self.fail(format!("function {word:?} not defined")),
            },
            _ => return self.unexpected(&token, context),
        };
        Ok(Operand { kind, place })
    }

    fn nested(&mut self, place: &mut Place) -> Parsed<OperandKind> {
        let inner = self.pipeline("parenthesized pipeline", &Kind::RightParenthesis)?;
        let token = self.take()?;
        if token.kind != Kind::RightParenthesis {
            return self.unexpected(&token, "parenthesized pipeline");
        }
        place.end = token.end;
        let mut path = Vec::new();
        self.fields(&mut path, place);
        Ok(OperandKind::Nested(Box::new(inner), path))
    }

    /// Fields that follow without space; errors point to the first of them.
    fn fields(&mut self, path: &mut Vec<String>, place: &mut Place) {
        let mut first = true;
        while let Token { kind: Kind::Field(name), start, end, spaced: false } = self.peek() {
            path.push(name.clone());
            place.end = *end;
            if std::mem::take(&mut first) {
                place.at = *start;
            }
            self.index += 1;
        }
    }
}

fn is_keyword(word: &str) -> bool {
    ["block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with"]
        .contains(&word)
}
