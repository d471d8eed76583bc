//! Types with parts: what they are called is enough to refuse them, and their
//! spellings are many.

use sqlparser::ast::{DataType, Ident, ObjectName};
use sqlparser::tokenizer::Token;

use super::parser::{StatementParser, is_word};
use crate::planner::is_nested;

impl StatementParser<'_> {
    /// Passes over a type with parts, which sqlparser knows in some spellings only.
    pub(super) fn nested_type(&mut self) -> Option<DataType> {
        let Token::Word(word) = self.peek().token else { return None };
        let head = word.value.to_uppercase();
        if word.quote_style.is_some() || !is_nested(&head) {
            return None;
        }
        self.parser.advance_token();
        let is_long = self.brackets();
        Some(custom_type(if is_long { format!("{head}<…>") } else { head }))
    }

    /// Returns the type of a list of `element` where that is what is said.
    pub(super) fn array_of(&mut self, element: DataType) -> DataType {
        let is_list = match self.peek().token {
            Token::LBracket => self.brackets(),
            Token::Word(word) if is_word(&word, "ARRAY") || is_word(&word, "MULTISET") => {
                self.parser.advance_token();
                self.brackets();
                true
            }
            _ => false,
        };
        if is_list { custom_type(format!("{element}[]")) } else { element }
    }

    /// Passes over brackets and what is in them, if they come next; those that
    /// are not closed end with the statement.
    fn brackets(&mut self) -> bool {
        let mut open = 0_i32;
        let mut is_any = false;
        loop {
            open += match self.peek().token {
                Token::Lt | Token::LParen | Token::LBracket => 1,
                Token::Gt | Token::RParen | Token::RBracket if open > 0 => -1,
                // Two at once: `ARRAY<ARRAY<INT>>`.
                Token::ShiftRight if open > 1 => -2,
                Token::ShiftRight if open > 0 => -1,
                Token::EOF => return is_any,
                _ if open > 0 => 0,
                _ => return is_any,
            };
            is_any = true;
            self.parser.advance_token();
        }
    }
}

fn custom_type(name: String) -> DataType {
    DataType::Custom(ObjectName::from(vec![Ident::new(name)]), Vec::new())
}
