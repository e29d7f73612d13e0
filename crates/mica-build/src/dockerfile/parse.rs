//! From text to stages: cuts each logical line into its parts, and puts the instructions where they belong.

use super::directive;
use super::error::{ParseError, Problem};
use super::flag;
use super::heredoc::{self, Heredoc};
use super::instruction::{Dockerfile, Instruction, Kind};
use super::interpret;
use super::json::{self, Array};
use super::line::{Lines, Logical};
use super::position::{Position, Span};
use super::split;
use super::suggestion;
use std::ops::Range;

/// The names of all instructions.
const INSTRUCTIONS: &[&str] = &[
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Reads a Dockerfile.
///
/// The text is what was in the file; bytes that are no UTF-8 have been replaced before.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn parse(source: &str) -> Result<Dockerfile, ParseError> {
    let directives = directive::read(source)?;
    let escape = directives.escape;
    let mut lines = Lines::new(source, escape);
    let mut file = Dockerfile {
        directives,
        global_arguments: Vec::new(),
        stages: Vec::new(),
        empty_continuations: Vec::new(),
    };
    while let Some(line) = lines.logical() {
        file.empty_continuations.extend(line.empty_continuation);
        let statement = Statement::new(&line, 0, escape)?;
        if statement.name == "FROM" {
            file.stages.push(interpret::stage(&statement)?);
            continue;
        }
        let instruction = instruction(statement, &mut lines)?;
        match (file.stages.last_mut(), &instruction.kind) {
            (Some(stage), _) => stage.instructions.push(instruction),
            (None, Kind::Arg(_)) => file.global_arguments.push(instruction),
            (None, _) => return Err(ParseError { problem: Problem::NoStage, span: instruction.span }),
        }
    }
    if file.stages.is_empty() {
        let problem = if file.global_arguments.is_empty() { Problem::Empty } else { Problem::NoStage };
        let start = Position { line: 1, column: 1 };
        return Err(ParseError { problem, span: Span::new(start, lines.end()) });
    }
    Ok(file)
}

/// Reads the trigger that an image keeps of an `ONBUILD`; its places are those in the trigger.
///
/// # Errors
/// When it is not exactly one instruction, or is wrong.
pub fn parse_trigger(expression: &str) -> Result<Instruction, ParseError> {
    let mut lines = Lines::new(expression, '\\');
    let not_single =
        |span| ParseError { problem: Problem::TriggerNotSingle { expression: expression.to_owned() }, span };
    let Some(line) = lines.logical() else { return Err(not_single(Span::new(lines.end(), lines.end()))) };
    let statement = Statement::new(&line, 0, '\\')?;
    interpret::check_trigger(&statement)?;
    let instruction = instruction(statement, &mut lines)?;
    if lines.logical().is_some() {
        return Err(not_single(instruction.span));
    }
    Ok(instruction)
}

/// Reads the heredocs that a statement opens, then the statement.
fn instruction(mut statement: Statement<'_>, lines: &mut Lines<'_>) -> Result<Instruction, ParseError> {
    if statement.can_hold_heredocs()? {
        statement.read_heredocs(lines)?;
    }
    let kind = interpret::kind(&statement)?;
    Ok(Instruction {
        kind,
        keyword: statement.line.word(statement.keyword.clone()),
        span: statement.span(),
        text: statement.text().to_owned(),
        comments: statement.line.comments.clone(),
    })
}

/// A logical line cut into its parts.
#[derive(Debug)]
pub(super) struct Statement<'line> {
    /// The line.
    pub(super) line: &'line Logical,
    /// The name of the instruction in capitals.
    pub(super) name: &'static str,
    /// Its name as written.
    pub(super) keyword: Range<usize>,
    /// The flags, without quotes and escapes.
    pub(super) flags: Vec<(String, Range<usize>)>,
    /// Everything after the flags.
    pub(super) arguments: Range<usize>,
    /// The heredocs.
    pub(super) heredocs: Vec<Heredoc>,
    /// What escapes a character.
    pub(super) escape: char,
}

impl<'line> Statement<'line> {
    /// Cuts a line from an offset on.
    pub(super) fn new(line: &'line Logical, offset: usize, escape: char) -> Result<Self, ParseError> {
        let text = &line.text[offset..];
        let (keyword, rest) = split::first_word(text);
        let range = offset..offset + keyword.len();
        let capitals = keyword.to_uppercase();
        let Some(name) = INSTRUCTIONS.iter().find(|name| **name == capitals) else {
            let suggestion = suggestion::nearest(keyword, INSTRUCTIONS);
            let problem = Problem::UnknownInstruction { name: keyword.to_owned(), suggestion };
            return Err(ParseError { problem, span: line.span(range) });
        };
        let start = offset + rest;
        let (flags, after) = flag::extract(&line.text[start..]);
        let flags =
            flags.into_iter().map(|(text, range)| (text, range.start + start..range.end + start)).collect();
        let rest = &line.text[start + after..];
        let arguments = line.text.len() - rest.trim_start().len()..line.text.len();
        Ok(Self { line, name, keyword: range, flags, arguments, heredocs: Vec::new(), escape })
    }

    /// The whole statement on one line.
    pub(super) fn text(&self) -> &'line str {
        &self.line.text[self.keyword.start..]
    }

    /// What stands after the flags.
    pub(super) fn argument_text(&self) -> &'line str {
        &self.line.text[self.arguments.clone()]
    }

    /// The place of the statement with its heredocs.
    pub(super) fn span(&self) -> Span {
        let mut span = self.line.span(self.keyword.start..self.line.text.len());
        if let Some(last) = self.heredocs.last() {
            // The line that ends the heredoc comes after its content and is as long as its name.
            let width = u32::try_from(last.name.chars().count()).unwrap_or(u32::MAX);
            let end = last.span.end;
            span.end = Position { column: end.column.saturating_add(width), ..end };
        }
        span
    }

    /// An error about the whole line.
    pub(super) fn error(&self, problem: Problem) -> ParseError {
        ParseError { problem, span: self.line.span(self.keyword.start..self.line.text.len()) }
    }

    fn can_hold_heredocs(&self) -> Result<bool, ParseError> {
        match self.name {
            "ADD" | "COPY" | "RUN" => Ok(!matches!(json::array(self.argument_text()), Array::Texts(_))),
            "ONBUILD" if !self.arguments.is_empty() => {
                let inner = Statement::new(self.line, self.arguments.start, self.escape)?;
                Ok(inner.name != "ONBUILD" && inner.can_hold_heredocs()?)
            }
            _ => Ok(false),
        }
    }

    fn read_heredocs(&mut self, lines: &mut Lines<'_>) -> Result<(), ParseError> {
        for opening in heredoc::openings(self.text()) {
            let Some((content, span)) = lines.heredoc(&opening.name, opening.strips_tabs) else {
                return Err(self.error(Problem::UnterminatedHeredoc { name: opening.name }));
            };
            self.heredocs.push(Heredoc {
                name: opening.name,
                content,
                expand: opening.expand,
                strips_tabs: opening.strips_tabs,
                descriptor: opening.descriptor,
                span,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::command_line::{CommandLine, Program};
    use super::*;

    fn problem(source: &str) -> Problem {
        parse(source).unwrap_err().problem
    }

    #[test]
    fn stages_hold_their_instructions_and_arguments_before_them_are_global() {
        let file = parse("ARG v=1\nFROM a:$v AS One\nRUN x\nfrom one\ncopy --from=one /a /b/ /c/\n").unwrap();
        assert_eq!((file.global_arguments.len(), file.stages.len()), (1, 2));
        assert_eq!(file.stages[0].name.as_ref().unwrap().value, "one");
        let Kind::Copy(copy) = &file.stages[1].instructions[0].kind else { panic!() };
        assert_eq!(copy.from.as_ref().unwrap().value, "one");
        assert_eq!(copy.from.as_ref().unwrap().span.start, Position { line: 5, column: 13 });
        assert_eq!((copy.transfer.sources.len(), copy.transfer.destination.value.as_str()), (2, "/c/"));
    }

    #[test]
    fn a_lone_heredoc_is_the_command_and_others_go_to_the_shell() {
        let program =
            |source: &str| match &parse(&format!("FROM x\n{source}")).unwrap().stages[0].instructions[0].kind
            {
                Kind::Run(run) => run.program(),
                _ => panic!(),
            };
        assert_eq!(program("RUN <<-E\n\ta\nb\n\tE\n"), Program::Shell("a\nb\n".into()));
        let script = Program::Script { name: "E".into(), content: "#!/bin/x\n".into() };
        assert_eq!(program("RUN <<E\n#!/bin/x\nE"), script);
        assert_eq!(
            program("RUN cat <<E - <<F\n1\nE\n2\nF"),
            Program::Shell("cat <<E - <<F\n1\nE\n2\nF".into())
        );
        assert_eq!(program("RUN [\"a\", \"<<E\"]"), Program::Exec(vec!["a".into(), "<<E".into()]));
        assert_eq!(problem("FROM x\nRUN <<E\na\n"), Problem::UnterminatedHeredoc { name: "E".into() });
    }

    #[test]
    fn triggers_are_kept_as_text_and_read_again() {
        let file = parse("FROM x\nONBUILD run <<E\na\nE\nCMD x").unwrap();
        let Kind::Onbuild(onbuild) = &file.stages[0].instructions[0].kind else { panic!() };
        assert_eq!(onbuild.expression, "run <<E\na\nE");
        let Kind::Run(run) = parse_trigger(&onbuild.expression).unwrap().kind else { panic!() };
        assert_eq!(run.program(), Program::Shell("a\n".into()));
        assert!(parse_trigger("RUN a\nRUN b").is_err());
        assert_eq!(problem("FROM x\nONBUILD ONBUILD RUN x"), Problem::OnbuildChain);
        assert!(matches!(problem("FROM x\nONBUILD from x"), Problem::OnbuildTrigger { .. }));
    }

    #[test]
    fn errors_have_places_and_near_misses() {
        let error = parse("FROM x\n  RUNN \\\n y\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)"
        );
        assert_eq!(error.span, Span::new(Position { line: 2, column: 3 }, Position { line: 2, column: 7 }));
        assert_eq!(problem(""), Problem::Empty);
        assert_eq!(problem("# only\n"), Problem::Empty);
        assert_eq!(problem("RUN x"), Problem::NoStage);
        assert!(matches!(
            problem("FROM x\nCOPY --form=a b c"),
            Problem::UnknownFlag { suggestion: Some("from"), .. }
        ));
        assert_eq!(problem("FROM x\nENV a=b c"), Problem::NoEqualsSign { word: "c".into() });
        assert_eq!(problem("FROM x\nRUN [\"a\", 1]"), Problem::NotTexts);
    }

    #[test]
    fn single_quotes_make_no_array() {
        let file = parse("FROM x\nCMD ['a']").unwrap();
        let Kind::Cmd(CommandLine::Shell(text)) = &file.stages[0].instructions[0].kind else { panic!() };
        assert_eq!(text.value, "['a']");
    }
}
