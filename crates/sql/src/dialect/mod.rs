//! The dialect: Flink's DDL and window table functions, BigQuery's named
//! arguments, on sqlparser's grammar of types, expressions and queries.
//!
//! A script is a list of statements, each ended by `;`:
//!
//! ```sql
//! CREATE TABLE name (column type [NOT NULL], …, WATERMARK FOR column AS column - INTERVAL '…' unit) WITH ('key'='value', …);
//!   -- or, where some rows lie ahead: WATERMARK FOR column AS CASE WHEN condition THEN column - INTERVAL '…' unit END
//! CREATE TABLE name WITH (…);                 -- a sink
//! CREATE MODEL name WITH (…);
//! CREATE VIEW name AS SELECT …;
//! CREATE PIPELINE name [WITH (…)] AS INSERT INTO sink SELECT * FROM forecast(TABLE view, name => value, …);
//! ```
//!
//! sqlparser knows neither `WATERMARK FOR` nor `CREATE MODEL` nor `CREATE
//! PIPELINE`, so the statements are ours (`parse_script`), and everything
//! inside them is parsed by sqlparser under [`TidecastDialect`], whose one
//! extension is `TABLE name` as a function argument. Names without quotes are
//! lower case, as in PostgreSQL.

pub(crate) mod duration;
mod message;
mod nested;
mod parser;
mod quote;
mod reserved;
mod statement;
mod watermark;

use std::any::TypeId;

use sqlparser::ast::{Expr, Ident};
use sqlparser::dialect::{Dialect, GenericDialect};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

pub use self::quote::quote_identifier;
pub(crate) use message::{column_in_quotes, lower_first};
pub(crate) use parser::{name_of, parse_script, single_name};
pub use statement::{
    ColumnList, ColumnStatement, ModelStatement, Name, OptionList, PipelineStatement, Placed,
    Statement, TableStatement, ViewStatement, WatermarkStatement,
};

/// Prefix of the expression that `TABLE name` and `TABLE (SELECT …)` become.
pub(crate) const TABLE_ARGUMENT: &str = "TABLE";

/// What sqlparser needs to know of the dialect.
#[derive(Debug, Default, Clone, Copy)]
pub struct TidecastDialect;

impl Dialect for TidecastDialect {
    /// Passes for the generic dialect where sqlparser asks by type: DataFusion
    /// is tested with that one.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"' || ch == '`'
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_within_after_array_aggregation(&self) -> bool {
        true
    }

    /// Parses `TABLE name` and `TABLE (SELECT …)`, the table argument of Flink's
    /// window functions and of `forecast`.
    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let token = parser.peek_token();
        let Token::Word(word) = &token.token else { return None };
        if word.keyword != Keyword::TABLE || word.quote_style.is_some() {
            return None;
        }
        parser.advance_token();
        let prefix = Ident::with_span(token.span, TABLE_ARGUMENT);
        // Not again, or a long row of them would exhaust the stack.
        if parser.peek_keyword(Keyword::TABLE) {
            return Some(parser.expected("a table's name", parser.peek_token()));
        }
        let value = parser.parse_prefix();
        Some(value.map(|value| Expr::Prefixed { prefix, value: Box::new(value) }))
    }
}
