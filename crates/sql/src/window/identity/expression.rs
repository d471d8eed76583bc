//! Expressions, spelled by us.
//!
//! Every kind of expression and every operator has its own arm, so that one that a later
//! DataFusion adds does not compile here rather than get a name by accident. What is
//! written is what an expression says, not how: layouts of one type, casts that change
//! nothing, casts of constants, and whether rows are counted by `count(*)` or `count(1)`
//! are the planner's choice and leave no trace.

use datafusion_common::{Column, DFSchema, ScalarValue};
use datafusion_expr::expr::{AggregateFunction, Case, Cast, Like, NullTreatment, Sort, TryCast};
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, Operator};

use super::types::{call, data_type, literal, quoted};

/// The columns that expressions refer to, and what these are called in the canonical form:
/// not by the names that planning gave them.
#[derive(Clone, Copy)]
pub(in crate::window) struct Columns<'a> {
    schema: &'a DFSchema,
    names: &'a [String],
}

impl<'a> Columns<'a> {
    /// `names` are those of the schema's columns, in order.
    pub(super) fn new(schema: &'a DFSchema, names: &'a [String]) -> Self {
        Self { schema, names }
    }

    /// Returns the names of the source's columns.
    pub(in crate::window) fn of_source(schema: &DFSchema) -> Vec<String> {
        let fields = schema.fields().iter();
        fields
            .map(|field| super::source_column(field.name(), &data_type(field.data_type())))
            .collect()
    }

    /// Writes an expression over columns of the source.
    pub(in crate::window) fn text_over_source(expression: &Expr, schema: &DFSchema) -> String {
        Columns::new(schema, &Self::of_source(schema)).text(expression)
    }

    fn column(&self, column: &Column) -> String {
        let index = self.schema.maybe_index_of_column(column);
        let name = index.and_then(|index| self.names.get(index)).cloned();
        // Nothing that compiles has a column that is not there.
        name.unwrap_or_else(|| call("unknown_column", [quoted(&column.name)]))
    }

    /// Returns the canonical form of an expression.
    // `Wildcard` is deprecated and has to be named as long as it is there.
    #[expect(deprecated)]
    pub(super) fn text(&self, expression: &Expr) -> String {
        let text = |expression: &Expr| self.text(expression);
        let of = |name: &str, inner: &Expr| call(name, [self.text(inner)]);
        match expression {
            // Names are those of the view's columns, which stand at its end.
            Expr::Alias(alias) => self.text(&alias.expr),
            Expr::Column(column) => self.column(column),
            Expr::Literal(constant, _) => literal(constant),
            Expr::BinaryExpr(binary) => self.chain(binary),
            Expr::Like(like) if like.case_insensitive => self.like("ilike", like),
            Expr::Like(like) => self.like("like", like),
            Expr::SimilarTo(like) => self.like("similar_to", like),
            Expr::Not(inner) => of("not", inner),
            Expr::IsNotNull(inner) => of("is_not_null", inner),
            Expr::IsNull(inner) => of("is_null", inner),
            Expr::IsTrue(inner) => of("is_true", inner),
            Expr::IsFalse(inner) => of("is_false", inner),
            Expr::IsUnknown(inner) => of("is_unknown", inner),
            Expr::IsNotTrue(inner) => of("is_not_true", inner),
            Expr::IsNotFalse(inner) => of("is_not_false", inner),
            Expr::IsNotUnknown(inner) => of("is_not_unknown", inner),
            Expr::Negative(inner) => of("negative", inner),
            Expr::Between(between) => {
                let parts = [&between.expr, &between.low, &between.high];
                negated(between.negated, call("between", parts.map(|part| text(part))))
            }
            Expr::Case(case) => self.case(case),
            Expr::Cast(cast) => self.cast(cast),
            Expr::TryCast(TryCast { expr, field }) => {
                call("try_cast", [text(expr), data_type(field.data_type())])
            }
            Expr::ScalarFunction(function) => {
                self.function("function", function.func.name(), &function.args)
            }
            Expr::HigherOrderFunction(function) => {
                self.function("higher_order_function", function.func.name(), &function.args)
            }
            Expr::Lambda(lambda) => {
                let parameters = lambda.params.iter().map(|name| quoted(name));
                call("lambda", parameters.chain([text(&lambda.body)]))
            }
            Expr::LambdaVariable(variable) => call("parameter", [quoted(&variable.name)]),
            Expr::AggregateFunction(function) => self.aggregate(function),
            Expr::InList(list) => {
                let parts = std::iter::once(&*list.expr).chain(&list.list);
                negated(list.negated, call("in", parts.map(text)))
            }
            // None of these runs on a stream: compiling refuses them, unless they stand
            // where they cannot matter (`TRUE OR …`) and were simplified away. So they
            // have DataFusion's words; refusing them here would refuse what runs.
            Expr::WindowFunction(_)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::SetComparison(_)
            | Expr::ScalarSubquery(_)
            | Expr::Wildcard { .. }
            | Expr::GroupingSet(_)
            | Expr::ScalarVariable(..)
            | Expr::Placeholder(_)
            | Expr::OuterReferenceColumn(..)
            | Expr::Unnest(_) => call("without_effect", [quoted(&expression.to_string())]),
        }
    }

    /// Writes `a + b + c + …`, which is as deep as it is long: no recursion for each term.
    fn chain(&self, last: &BinaryExpr) -> String {
        let mut chain = vec![last];
        let mut first = last.left.as_ref();
        while let Expr::BinaryExpr(binary) = first {
            chain.push(binary);
            first = binary.left.as_ref();
        }
        let mut text = String::new();
        for binary in &chain {
            text.push_str(operator(binary.op));
            text.push('(');
        }
        text.push_str(&self.text(first));
        for binary in chain.iter().rev() {
            text.push_str(", ");
            text.push_str(&self.text(&binary.right));
            text.push(')');
        }
        text
    }

    fn like(&self, name: &str, like: &Like) -> String {
        let mut parts = vec![self.text(&like.expr), self.text(&like.pattern)];
        parts.extend(like.escape_char.map(|c| call("escape", [quoted(&c.to_string())])));
        negated(like.negated, call(name, parts))
    }

    fn case(&self, case: &Case) -> String {
        let mut parts = Vec::new();
        parts.extend(case.expr.as_ref().map(|of| call("of", [self.text(of)])));
        let branches = case.when_then_expr.iter();
        parts.extend(branches.map(|(when, then)| call("when", [self.text(when), self.text(then)])));
        parts.extend(case.else_expr.as_ref().map(|other| call("else", [self.text(other)])));
        call("case", parts)
    }

    fn cast(&self, Cast { expr, field }: &Cast) -> String {
        let to = data_type(field.data_type());
        if let Expr::Literal(constant, _) = expr.as_ref()
            && let Ok(constant) = constant.cast_to(field.data_type())
        {
            return literal(&constant);
        }
        match expr.get_type(self.schema) {
            Ok(from) if data_type(&from) == to => self.text(expr),
            _ => call("cast", [self.text(expr), to]),
        }
    }

    fn function(&self, kind: &str, name: &str, arguments: &[Expr]) -> String {
        let arguments = arguments.iter().map(|argument| self.text(argument));
        call(kind, std::iter::once(quoted(name)).chain(arguments))
    }

    fn aggregate(&self, function: &AggregateFunction) -> String {
        let (name, params) = (function.func.name(), &function.params);
        let mut parts = vec![quoted(name)];
        match params.args.as_slice() {
            [Expr::Literal(constant, _)] if name == "count" && counts_rows(constant) => {
                // Of one value there is one that is distinct.
                let what = if params.distinct { literal(constant) } else { "rows".to_owned() };
                parts.push(what);
            }
            arguments => parts.extend(arguments.iter().map(|argument| self.text(argument))),
        }
        if params.distinct {
            parts.push("distinct".to_owned());
        }
        if !params.order_by.is_empty() {
            let keys = params.order_by.iter().map(|key| self.sort_key(key));
            parts.push(call("order_by", keys));
        }
        parts.extend(params.filter.as_ref().map(|only| call("filter", [self.text(only)])));
        parts.extend(params.null_treatment.map(|treatment| {
            let treatment = match treatment {
                NullTreatment::IgnoreNulls => "ignore_nulls",
                NullTreatment::RespectNulls => "respect_nulls",
            };
            treatment.to_owned()
        }));
        call("aggregate", parts)
    }

    fn sort_key(&self, Sort { expr, asc, nulls_first }: &Sort) -> String {
        let direction = if *asc { "ascending" } else { "descending" };
        let nulls = if *nulls_first { "nulls_first" } else { "nulls_last" };
        call(direction, [self.text(expr), nulls.to_owned()])
    }
}

fn counts_rows(constant: &ScalarValue) -> bool {
    !constant.is_null()
}

fn negated(negated: bool, text: String) -> String {
    if negated { call("not", [text]) } else { text }
}

fn operator(operator: Operator) -> &'static str {
    match operator {
        Operator::Eq => "eq",
        Operator::NotEq => "not_eq",
        Operator::Lt => "lt",
        Operator::LtEq => "lt_eq",
        Operator::Gt => "gt",
        Operator::GtEq => "gt_eq",
        Operator::Plus => "plus",
        Operator::Minus => "minus",
        Operator::Multiply => "multiply",
        Operator::Divide => "divide",
        Operator::Modulo => "modulo",
        Operator::And => "and",
        Operator::Or => "or",
        Operator::IsDistinctFrom => "is_distinct_from",
        Operator::IsNotDistinctFrom => "is_not_distinct_from",
        Operator::RegexMatch => "regex_match",
        Operator::RegexIMatch => "regex_imatch",
        Operator::RegexNotMatch => "regex_not_match",
        Operator::RegexNotIMatch => "regex_not_imatch",
        Operator::LikeMatch => "like_match",
        Operator::ILikeMatch => "ilike_match",
        Operator::NotLikeMatch => "not_like_match",
        Operator::NotILikeMatch => "not_ilike_match",
        Operator::BitwiseAnd => "bitwise_and",
        Operator::BitwiseOr => "bitwise_or",
        Operator::BitwiseXor => "bitwise_xor",
        Operator::BitwiseShiftRight => "bitwise_shift_right",
        Operator::BitwiseShiftLeft => "bitwise_shift_left",
        Operator::StringConcat => "string_concat",
        Operator::AtArrow => "at_arrow",
        Operator::ArrowAt => "arrow_at",
        Operator::Arrow => "arrow",
        Operator::LongArrow => "long_arrow",
        Operator::HashArrow => "hash_arrow",
        Operator::HashLongArrow => "hash_long_arrow",
        Operator::AtAt => "at_at",
        Operator::IntegerDivide => "integer_divide",
        Operator::HashMinus => "hash_minus",
        Operator::AtQuestion => "at_question",
        Operator::Question => "question",
        Operator::QuestionAnd => "question_and",
        Operator::QuestionPipe => "question_pipe",
        Operator::Colon => "colon",
    }
}
