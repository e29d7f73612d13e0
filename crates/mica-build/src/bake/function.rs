//! Functions that bake files define themselves: a call is replaced by the function's expression with the arguments in
//! the places of the parameters. Expressions have no effects, so that is the same as calling it.
//!
//! Arithmetic is replaced by calls too: the library behind the expressions ends the program when a result is not finite.

use super::definition::FunctionBlock;
use hcl::Expression;
use hcl::expr::{
    BinaryOperator, Conditional, ForExpr, FuncCall, ObjectKey, Operation, TemplateExpr, TraversalOperator,
};
use hcl::template::{Directive, Element, Strip, Template};
use std::collections::BTreeMap;

/// How deep functions may call functions, and how large an expression may become by it.
const LIMIT: usize = 100;
const SIZE_LIMIT: usize = 100_000;

/// The functions by name.
pub(super) struct Functions {
    blocks: BTreeMap<String, FunctionBlock>,
}

/// The arguments of a call, by the names of the parameters.
type Arguments = BTreeMap<String, Expression>;

impl Functions {
    pub(super) fn new(blocks: Vec<FunctionBlock>) -> Self {
        Self { blocks: blocks.into_iter().map(|block| (block.name.clone(), block)).collect() }
    }

    /// The expression without calls of these functions.
    pub(super) fn inline(&self, expression: &Expression) -> Result<Expression, String> {
        let mut inliner = Inliner { functions: self, depth: 0, size: 0 };
        inliner.expression(expression, &Arguments::new())
    }
}

struct Inliner<'functions> {
    functions: &'functions Functions,
    depth: usize,
    size: usize,
}

impl Inliner<'_> {
    fn expression(&mut self, expression: &Expression, arguments: &Arguments) -> Result<Expression, String> {
        self.size += 1;
        if self.size > SIZE_LIMIT {
            return Err("the functions make the expression too large".to_owned());
        }
        let mut expression = expression.clone();
        match &mut expression {
            Expression::Variable(name) => {
                if let Some(argument) = arguments.get(name.as_str()) {
                    return Ok(Expression::Parenthesis(Box::new(argument.clone())));
                }
            }
            Expression::Array(items) => self.all(items.iter_mut(), arguments)?,
            Expression::Object(members) => {
                let mut replaced = Vec::new();
                for (key, value) in std::mem::take(members) {
                    let key = match key {
                        ObjectKey::Expression(key) => {
                            ObjectKey::Expression(self.expression(&key, arguments)?)
                        }
                        key => key,
                    };
                    replaced.push((key, self.expression(&value, arguments)?));
                }
                members.extend(replaced);
            }
            Expression::TemplateExpr(template) => return self.template_expression(template, arguments),
            Expression::Traversal(traversal) => {
                self.replace(&mut traversal.expr, arguments)?;
                for operator in &mut traversal.operators {
                    if let TraversalOperator::Index(index) = operator {
                        self.replace(index, arguments)?;
                    }
                }
            }
            Expression::FuncCall(call) => return self.call(call, arguments),
            Expression::Parenthesis(inner) => self.replace(inner, arguments)?,
            Expression::Conditional(conditional) => {
                let parts =
                    [&mut conditional.cond_expr, &mut conditional.true_expr, &mut conditional.false_expr];
                self.all(parts.into_iter(), arguments)?;
            }
            Expression::Operation(operation) => match operation.as_mut() {
                Operation::Unary(unary) => self.replace(&mut unary.expr, arguments)?,
                Operation::Binary(binary) => {
                    self.all([&mut binary.lhs_expr, &mut binary.rhs_expr].into_iter(), arguments)?;
                    if let Some(name) = arithmetic(binary.operator) {
                        let call =
                            FuncCall::builder(name).arg(binary.lhs_expr.clone()).arg(binary.rhs_expr.clone());
                        return Ok(Expression::from(call.build()));
                    }
                }
            },
            Expression::ForExpr(expression) => {
                self.replace(&mut expression.collection_expr, arguments)?;
                // What the loop names hides a parameter of the same name.
                let mut inner = arguments.clone();
                inner.remove(expression.value_var.as_str());
                if let Some(key) = &expression.key_var {
                    inner.remove(key.as_str());
                }
                let parts = std::iter::once(&mut expression.value_expr);
                self.all(parts.chain(&mut expression.key_expr).chain(&mut expression.cond_expr), &inner)?;
            }
            _ => {}
        }
        Ok(expression)
    }

    fn replace(&mut self, place: &mut Expression, arguments: &Arguments) -> Result<(), String> {
        *place = self.expression(place, arguments)?;
        Ok(())
    }

    fn all<'a>(
        &mut self,
        mut places: impl Iterator<Item = &'a mut Expression>,
        arguments: &Arguments,
    ) -> Result<(), String> {
        places.try_for_each(|place| self.replace(place, arguments))
    }

    fn call(&mut self, call: &FuncCall, arguments: &Arguments) -> Result<Expression, String> {
        let mut call = call.clone();
        self.all(call.args.iter_mut(), arguments)?;
        let name = call.name.name.to_string();
        let Some(function) = self.functions.blocks.get(&name) else {
            return Ok(Expression::FuncCall(Box::new(call)));
        };
        let (given, wanted) = (call.args.len(), function.parameters.len());
        if given < wanted || given > wanted && function.variadic.is_none() || call.expand_final {
            return Err(format!("function {name} takes {wanted} arguments, not {given}"));
        }
        let rest = call.args.split_off(wanted);
        let mut bound: Arguments = function.parameters.iter().cloned().zip(call.args).collect();
        if let Some(variadic) = &function.variadic {
            bound.insert(variadic.clone(), Expression::Array(rest));
        }
        self.depth += 1;
        if self.depth > LIMIT {
            return Err(format!("function {name} calls itself"));
        }
        let result = self.expression(&function.result, &bound);
        self.depth -= 1;
        result.map(|result| Expression::Parenthesis(Box::new(result)))
    }

    /// A template, taken apart when something in it has to be replaced.
    fn template_expression(
        &mut self,
        template: &TemplateExpr,
        arguments: &Arguments,
    ) -> Result<Expression, String> {
        let parsed = Template::from_expr(template).map_err(|error| error.to_string())?;
        if parsed.elements().iter().all(|element| matches!(element, Element::Literal(_))) {
            return Ok(Expression::TemplateExpr(Box::new(template.clone())));
        }
        self.template(&parsed, arguments)
    }

    fn template(&mut self, template: &Template, arguments: &Arguments) -> Result<Expression, String> {
        let mut parts = Vec::new();
        for (at, element) in template.elements().iter().enumerate() {
            parts.push(match element {
                Element::Literal(text) => Expression::String(literal(text, at, template)),
                Element::Interpolation(interpolation) => self.expression(&interpolation.expr, arguments)?,
                Element::Directive(directive) => self.directive(directive, arguments)?,
            });
        }
        // A lone interpolation keeps the type of its value.
        if let [Element::Interpolation(_)] = template.elements()
            && let Some(only) = parts.pop()
        {
            return Ok(only);
        }
        let call =
            parts.into_iter().fold(FuncCall::builder(super::standard::TEXT), |call, part| call.arg(part));
        Ok(Expression::from(call.build()))
    }

    fn directive(&mut self, directive: &Directive, arguments: &Arguments) -> Result<Expression, String> {
        match directive {
            Directive::If(branch) => {
                let other = match &branch.false_template {
                    Some(template) => self.template(template, arguments)?,
                    None => Expression::String(String::new()),
                };
                let then = self.template(&branch.true_template, arguments)?;
                let condition = self.expression(&branch.cond_expr, arguments)?;
                Ok(Conditional::new(condition, then, other).into())
            }
            Directive::For(repeat) => {
                let mut inner = arguments.clone();
                inner.remove(repeat.value_var.as_str());
                if let Some(key) = &repeat.key_var {
                    inner.remove(key.as_str());
                }
                let body = self.template(&repeat.template, &inner)?;
                let collection = self.expression(&repeat.collection_expr, arguments)?;
                let mut all = ForExpr::new(repeat.value_var.clone(), collection, body);
                all.key_var.clone_from(&repeat.key_var);
                Ok(FuncCall::builder("join").arg("").arg(all).build().into())
            }
        }
    }
}

/// A text of a template without the white space that `~` beside it takes away.
fn literal(text: &str, at: usize, template: &Template) -> String {
    let strip_of = |at: Option<usize>| match at.and_then(|at| template.elements().get(at)) {
        Some(Element::Interpolation(interpolation)) => interpolation.strip,
        _ => Strip::None,
    };
    let text = match strip_of(at.checked_sub(1)) {
        Strip::End | Strip::Both => text.trim_start(),
        Strip::None | Strip::Start => text,
    };
    match strip_of(at.checked_add(1)) {
        Strip::Start | Strip::Both => text.trim_end().to_owned(),
        Strip::None | Strip::End => text.to_owned(),
    }
}

/// The function that does what an operator does.
const fn arithmetic(operator: BinaryOperator) -> Option<&'static str> {
    match operator {
        BinaryOperator::Plus => Some("add"),
        BinaryOperator::Minus => Some("subtract"),
        BinaryOperator::Mul => Some("multiply"),
        BinaryOperator::Div => Some("divide"),
        BinaryOperator::Mod => Some("modulo"),
        _ => None,
    }
}
