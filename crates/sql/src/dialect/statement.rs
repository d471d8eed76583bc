//! The four statements, as said: names and values with their places, nothing
//! looked up yet.

use std::fmt;
use std::time::Duration;

use sqlparser::ast::{DataType, Expr, Query};
use sqlparser::tokenizer::Span;
use tidecast_stream::secret;

/// A name or a value, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed<T> {
    /// What is said.
    pub value: T,
    /// Where, in the script.
    pub span: Span,
}

/// A name; without quotes it is lower case.
pub type Name = Placed<String>;

/// A statement of a script.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// `CREATE TABLE`.
    Table(TableStatement),
    /// `CREATE MODEL`.
    Model(ModelStatement),
    /// `CREATE VIEW`.
    View(ViewStatement),
    /// `CREATE PIPELINE`.
    Pipeline(PipelineStatement),
}

impl Statement {
    /// Returns the name it gives.
    pub fn name(&self) -> &Name {
        match self {
            Statement::Table(table) => &table.name,
            Statement::Model(model) => &model.name,
            Statement::View(view) => &view.name,
            Statement::Pipeline(pipeline) => &pipeline.name,
        }
    }
}

/// `CREATE TABLE name [(column type [NOT NULL], …, WATERMARK FOR …)] WITH (…)`.
#[derive(Debug, Clone, PartialEq)]
pub struct TableStatement {
    /// The table's name.
    pub name: Name,
    /// Columns and watermarks; `None` for a sink, which has no list.
    pub columns: Option<ColumnList>,
    /// The options.
    pub options: OptionList,
}

/// What stands in the parentheses of `CREATE TABLE`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ColumnList {
    /// The columns in order.
    pub columns: Vec<ColumnStatement>,
    /// The watermarks; one is wanted.
    pub watermarks: Vec<WatermarkStatement>,
}

/// `name type [NOT NULL] [METADATA [FROM 'part'] [VIRTUAL]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnStatement {
    /// The column's name.
    pub name: Name,
    /// Its SQL type.
    pub data_type: Placed<DataType>,
    /// Whether `NOT NULL` is said.
    pub not_null: bool,
    /// The part of the record beside its value that it is said to be.
    pub metadata: Option<Placed<String>>,
}

/// `WATERMARK FOR column [AS column [- INTERVAL delay]]`, or with
/// `CASE WHEN condition THEN column [- INTERVAL delay] END`.
#[derive(Debug, Clone, PartialEq)]
pub struct WatermarkStatement {
    /// The event-time column.
    pub column: Name,
    /// The delay; zero when not said.
    pub delay: Duration,
    /// Which rows move the watermark; all when not said.
    pub condition: Option<Placed<Expr>>,
    /// The whole clause.
    pub span: Span,
}

/// `WITH ('key' = 'value', …)`.
#[derive(Clone, PartialEq, Default)]
pub struct OptionList {
    /// The pairs in order; keys may repeat here.
    pub pairs: Vec<(Name, Placed<String>)>,
}

impl fmt::Debug for OptionList {
    /// Secrets are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value): &(Name, Placed<String>)| {
            (name.value.clone(), secret::shown(&name.value, &value.value).to_owned())
        };
        f.debug_map().entries(self.pairs.iter().map(shown)).finish()
    }
}

/// `CREATE MODEL name WITH (…)`.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelStatement {
    /// The model's name.
    pub name: Name,
    /// The options.
    pub options: OptionList,
}

/// `CREATE VIEW name AS query`.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewStatement {
    /// The view's name.
    pub name: Name,
    /// Its query.
    pub query: Box<Query>,
}

/// `CREATE PIPELINE name [WITH (…)] AS INSERT INTO sink query`.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineStatement {
    /// The pipeline's name.
    pub name: Name,
    /// The options.
    pub options: OptionList,
    /// The table the forecasts go to.
    pub sink: Name,
    /// `SELECT * FROM forecast(…)`.
    pub query: Box<Query>,
}
