//! Text to statements.

use sqlparser::ast::{Ident, ObjectName};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Word};

use super::TidecastDialect;
use super::message::{column_in_quotes, lower_first, parser_problem};
use super::reserved::reserved_before;
use super::statement::{
    ColumnList, ColumnStatement, ModelStatement, Name, OptionList, PipelineStatement, Placed,
    Statement, TableStatement, ViewStatement, WatermarkStatement,
};
use super::watermark::WatermarkExpression;
use crate::error::{Problem, did_you_mean};

/// Parses a script. A statement that does not parse is a problem, and the
/// others are still read.
pub(crate) fn parse_script(text: &str) -> (Vec<Statement>, Vec<Problem>) {
    // Some editors begin a file with a byte order mark.
    let text = text.trim_start_matches('\u{feff}');
    let tokens = match Tokenizer::new(&TidecastDialect, text).tokenize_with_location() {
        Ok(tokens) => tokens,
        Err(error) => {
            let place = Span::new(error.location, error.location);
            let message = format!("cannot read the script: {}", lower_first(&error.message));
            return (Vec::new(), vec![Problem::new(place, message)]);
        }
    };
    let mut statements = Vec::new();
    let mut problems = Vec::new();
    for tokens in tokens.split(|token| token.token == Token::SemiColon) {
        let mut said = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
        let Some(first) = said.next() else { continue };
        let end = said.next_back().unwrap_or(first).span.end;
        match StatementParser::new(tokens, end).statement() {
            Ok(statement) => statements.push(statement),
            Err(problem) => problems.push(problem.or_at(first.span)),
        }
    }
    (statements, problems)
}

/// Returns the name that `identifier` says: lower case unless quoted.
pub(crate) fn name_of(identifier: &Ident) -> Name {
    let value = match identifier.quote_style {
        Some(_) => identifier.value.clone(),
        None => identifier.value.to_lowercase(),
    };
    Name { value, span: identifier.span }
}

/// Returns the only part of a name, or a problem if it has several.
pub(crate) fn single_name(name: &ObjectName) -> Result<Name, Problem> {
    match name.0.as_slice() {
        [part] if part.as_ident().is_some() => {
            part.as_ident().map(name_of).ok_or_else(Problem::consequence)
        }
        parts => {
            let spans = parts.iter().filter_map(|part| part.as_ident()).map(|ident| ident.span);
            Err(Problem::new(
                Span::union_iter(spans),
                format!(
                    "`{name}` has several parts, expected one name: there are no schemas or catalogs"
                ),
            ))
        }
    }
}

/// One statement's tokens under sqlparser's parser.
pub(super) struct StatementParser<'a> {
    pub(super) parser: Parser<'a>,
    tokens: &'a [TokenWithSpan],
    /// Where the statement's text ends: the place of what is missing.
    end: Location,
}

impl<'a> StatementParser<'a> {
    fn new(tokens: &'a [TokenWithSpan], end: Location) -> Self {
        let parser = Parser::new(&TidecastDialect).with_tokens_with_locations(tokens.to_vec());
        Self { parser, tokens, end }
    }

    fn statement(mut self) -> Result<Statement, Problem> {
        if self.keyword("CREATE") {
            let statement = self.create()?;
            self.end_of_statement()?;
            return Ok(statement);
        }
        let found = self.peek();
        let remedy = match &found.token {
            Token::Word(word) if word.keyword == Keyword::INSERT => {
                "; name it: CREATE PIPELINE name AS INSERT INTO …".to_owned()
            }
            Token::Word(word) if matches!(word.keyword, Keyword::SELECT | Keyword::WITH) => {
                "; name the query: CREATE VIEW name AS SELECT …".to_owned()
            }
            token => did_you_mean(&token.to_string(), ["CREATE"]),
        };
        Err(self.unexpected(
            &found,
            &format!("CREATE TABLE, CREATE MODEL, CREATE VIEW or CREATE PIPELINE{remedy}"),
        ))
    }

    fn create(&mut self) -> Result<Statement, Problem> {
        let found = self.parser.next_token();
        if let Token::Word(word) = &found.token {
            match word.value.to_uppercase().as_str() {
                "TABLE" => return self.create_table().map(Statement::Table),
                "MODEL" => return self.create_model().map(Statement::Model),
                "VIEW" => return self.create_view().map(Statement::View),
                "PIPELINE" => return self.create_pipeline().map(Statement::Pipeline),
                "OR" | "TEMPORARY" | "TEMP" | "EXTERNAL" | "MATERIALIZED" | "UNBOUNDED" => {
                    return Err(Problem::new(
                        found.span,
                        format!(
                            "`{}` is not supported in this version, expected TABLE, MODEL, VIEW \
                             or PIPELINE after CREATE",
                            word.value
                        ),
                    ));
                }
                _ => {}
            }
        }
        let kinds = ["TABLE", "MODEL", "VIEW", "PIPELINE"];
        let remedy = did_you_mean(&found.token.to_string(), kinds);
        Err(self.unexpected(&found, &format!("TABLE, MODEL, VIEW or PIPELINE{remedy}")))
    }

    fn create_table(&mut self) -> Result<TableStatement, Problem> {
        let name = self.statement_name()?;
        let columns =
            if self.parser.consume_token(&Token::LParen) { Some(self.columns()?) } else { None };
        let options = self.with_options()?;
        Ok(TableStatement { name, columns, options })
    }

    fn create_model(&mut self) -> Result<ModelStatement, Problem> {
        let name = self.statement_name()?;
        let options = self.with_options()?;
        Ok(ModelStatement { name, options })
    }

    fn create_view(&mut self) -> Result<ViewStatement, Problem> {
        let name = self.statement_name()?;
        self.expect_word("AS")?;
        let query = self.parsed(|parser| parser.parse_query())?;
        Ok(ViewStatement { name, query })
    }

    fn create_pipeline(&mut self) -> Result<PipelineStatement, Problem> {
        let name = self.statement_name()?;
        let options = self.with_options()?;
        self.expect_word("AS")?;
        self.expect_word("INSERT")?;
        self.expect_word("INTO")?;
        let sink = self.name()?;
        let query = self.parsed(|parser| parser.parse_query())?;
        Ok(PipelineStatement { name, options, sink, query })
    }

    /// The rest of the parentheses of `CREATE TABLE`.
    fn columns(&mut self) -> Result<ColumnList, Problem> {
        let mut list = ColumnList::default();
        loop {
            if self.at_watermark() {
                list.watermarks.push(self.watermark()?);
            } else {
                list.columns.push(self.column()?);
            }
            if self.parser.consume_token(&Token::Comma) {
                continue;
            }
            if self.parser.consume_token(&Token::RParen) {
                return Ok(list);
            }
            let found = self.peek();
            let remedy = match &found.token {
                Token::Word(word)
                    if matches!(
                        word.keyword,
                        Keyword::PRIMARY
                            | Keyword::UNIQUE
                            | Keyword::DEFAULT
                            | Keyword::CHECK
                            | Keyword::REFERENCES
                            | Keyword::GENERATED
                            | Keyword::AS
                    ) =>
                {
                    "; a column is a name, a type, NOT NULL or nothing, and METADATA FROM '…' or nothing"
                }
                _ => "",
            };
            return Err(self.unexpected(&found, &format!("`,` or `)` in the column list{remedy}")));
        }
    }

    fn at_watermark(&self) -> bool {
        let [first, second] = self.parser.peek_tokens();
        matches!(&first, Token::Word(word) if is_word(word, "WATERMARK"))
            && matches!(&second, Token::Word(word) if word.keyword == Keyword::FOR)
    }

    fn column(&mut self) -> Result<ColumnStatement, Problem> {
        if let [Token::Word(first), Token::Word(second)] = self.parser.peek_tokens()
            && first.quote_style.is_none()
            && matches!(
                (first.keyword, second.keyword),
                (Keyword::PRIMARY | Keyword::FOREIGN, Keyword::KEY)
            )
        {
            let found = self.peek();
            return Err(Problem::new(
                found.span,
                "keys are not supported, expected a column or WATERMARK FOR; the series of a \
                 pipeline are named by forecast(…, series => …)",
            ));
        }
        let name = self.name()?;
        let start = self.peek().span;
        if matches!(self.peek().token, Token::Comma | Token::RParen) {
            return Err(Problem::new(start, format!("column `{}` has no type", name.value)));
        }
        let data_type = match self.nested_type() {
            Some(nested) => nested,
            None => self.parsed(|parser| parser.parse_data_type())?,
        };
        let data_type = self.array_of(data_type);
        let span = start.union(&self.parser.get_current_token().span);
        let mut not_null = self.nullability();
        let metadata = self.metadata(&name)?;
        not_null |= self.nullability();
        let data_type = Placed { value: data_type, span };
        Ok(ColumnStatement { name, data_type, not_null, metadata })
    }

    /// Whether `NOT NULL` follows; `NULL` is the default.
    fn nullability(&mut self) -> bool {
        let not_null = self.parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]);
        if !not_null {
            let _nullable_is_the_default = self.parser.parse_keyword(Keyword::NULL);
        }
        not_null
    }

    /// `METADATA [FROM 'part'] [VIRTUAL]`; without a part the column's name is it, as in
    /// Flink.
    fn metadata(&mut self, column: &Name) -> Result<Option<Placed<String>>, Problem> {
        let found = self.peek();
        if !matches!(&found.token, Token::Word(word) if is_word(word, "METADATA")) {
            return Ok(None);
        }
        let _metadata = self.parser.next_token();
        let mut part = Placed { value: column.value.clone(), span: found.span };
        if self.parser.parse_keyword(Keyword::FROM) {
            let found = self.parser.next_token();
            let Token::SingleQuotedString(text) = found.token else {
                let example = "a part of the record in single quotes: METADATA FROM 'key'";
                return Err(self.unexpected(&found, example));
            };
            part = Placed { value: text, span: found.span };
        }
        if matches!(&self.peek().token, Token::Word(word) if is_word(word, "VIRTUAL")) {
            let _nothing_is_written_to_a_source = self.parser.next_token();
        }
        Ok(Some(part))
    }

    fn watermark(&mut self) -> Result<WatermarkStatement, Problem> {
        let start = self.peek().span;
        self.expect_word("WATERMARK")?;
        self.expect_word("FOR")?;
        let column = self.name()?;
        let mut found = WatermarkExpression::default();
        if self.parser.parse_keyword(Keyword::AS) {
            let expression_start = self.peek().span;
            let expression = self.parsed(|parser| parser.parse_expr())?;
            let span = expression_start.union(&self.parser.get_current_token().span);
            found = WatermarkExpression::of(&column, &expression, span)?;
        }
        let span = start.union(&self.parser.get_current_token().span);
        let WatermarkExpression { delay, condition } = found;
        Ok(WatermarkStatement { column, delay, condition, span })
    }

    /// `WITH (…)`, or nothing.
    fn with_options(&mut self) -> Result<OptionList, Problem> {
        let mut list = OptionList::default();
        if !self.keyword("WITH") {
            return Ok(list);
        }
        self.expect(&Token::LParen)?;
        if self.parser.consume_token(&Token::RParen) {
            return Ok(list);
        }
        loop {
            let key = self.option_key()?;
            self.expect(&Token::Eq)?;
            let value = self.option_value(&key.value)?;
            list.pairs.push((key, value));
            if self.parser.consume_token(&Token::Comma) {
                continue;
            }
            if self.parser.consume_token(&Token::RParen) {
                return Ok(list);
            }
            let found = self.peek();
            return Err(self.unexpected(&found, "`,` or `)` in the option list"));
        }
    }

    /// `'a.b'` or `a.b`.
    fn option_key(&mut self) -> Result<Name, Problem> {
        let found = self.parser.next_token();
        match &found.token {
            Token::SingleQuotedString(key) => Ok(Name { value: key.clone(), span: found.span }),
            Token::Word(word) => {
                let mut key = word.value.clone();
                let mut span = found.span;
                while self.parser.consume_token(&Token::Period) {
                    let part = self.parser.next_token();
                    let Token::Word(word) = &part.token else {
                        return Err(self.unexpected(&part, "the rest of an option's name"));
                    };
                    key = format!("{key}.{}", word.value);
                    span = span.union(&part.span);
                }
                Ok(Name { value: key, span })
            }
            _ => Err(self.unexpected(&found, "an option such as 'topic'='readings'")),
        }
    }

    fn option_value(&mut self, key: &str) -> Result<Placed<String>, Problem> {
        let found = self.parser.next_token();
        let value = match &found.token {
            Token::SingleQuotedString(value) => value.clone(),
            Token::Number(number, _) => number.clone(),
            Token::Word(word) if matches!(word.keyword, Keyword::TRUE | Keyword::FALSE) => {
                word.value.to_lowercase()
            }
            _ => {
                let expected = format!("a value in single quotes for option `{key}`");
                return Err(self.unexpected(&found, &expected));
            }
        };
        Ok(Placed { value, span: found.span })
    }

    /// The name a statement gives; `IF NOT EXISTS` has no meaning in a script.
    fn statement_name(&mut self) -> Result<Name, Problem> {
        let found = self.peek();
        if self.parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]) {
            return Err(Problem::new(
                found.span,
                "IF NOT EXISTS is not supported, expected a name: each script is read afresh",
            ));
        }
        self.name()
    }

    fn name(&mut self) -> Result<Name, Problem> {
        let found = self.peek();
        if !matches!(found.token, Token::Word(_)) {
            return Err(self.unexpected(&found, "a name"));
        }
        let name = self.parsed(|parser| parser.parse_object_name(false))?;
        single_name(&name)
    }

    fn end_of_statement(&mut self) -> Result<(), Problem> {
        let found = self.peek();
        match found.token {
            Token::EOF => Ok(()),
            Token::Word(ref word) if is_word(word, "CREATE") => {
                Err(self.unexpected(&found, "`;` between two statements"))
            }
            _ => Err(self.unexpected(&found, "`;` or the end of the statement")),
        }
    }

    fn keyword(&mut self, word: &str) -> bool {
        let is_it = matches!(&self.peek().token, Token::Word(found) if is_word(found, word));
        if is_it {
            self.parser.advance_token();
        }
        is_it
    }

    fn expect_word(&mut self, word: &str) -> Result<(), Problem> {
        if self.keyword(word) {
            return Ok(());
        }
        let found = self.peek();
        Err(self.unexpected(&found, word))
    }

    fn expect(&mut self, token: &Token) -> Result<(), Problem> {
        if self.parser.consume_token(token) {
            return Ok(());
        }
        let found = self.peek();
        Err(self.unexpected(&found, &format!("`{token}`")))
    }

    pub(super) fn peek(&self) -> TokenWithSpan {
        self.parser.peek_token()
    }

    fn parsed<T>(
        &mut self,
        parse: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
    ) -> Result<T, Problem> {
        let end = self.end;
        parse(&mut self.parser).map_err(|error| {
            let problem = parser_problem(&error, end);
            match reserved_before(self.tokens, problem.span.start) {
                Some(word) => problem.and(&column_in_quotes(&word)),
                None => problem,
            }
        })
    }

    fn unexpected(&self, found: &TokenWithSpan, expected: &str) -> Problem {
        if found.token == Token::EOF {
            return Problem::new(
                Span::new(self.end, self.end),
                format!("the statement ends too early, expected {expected}"),
            );
        }
        Problem::new(found.span, format!("found `{}`, expected {expected}", found.token))
    }
}

pub(super) fn is_word(word: &Word, expected: &str) -> bool {
    word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected)
}
