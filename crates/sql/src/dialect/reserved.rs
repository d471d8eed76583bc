//! Words of SQL that stand where a column does.

use std::collections::VecDeque;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Word};

/// Returns the word of SQL at or shortly before `place` that somebody may have
/// meant as a column.
pub(super) fn reserved_before(tokens: &[TokenWithSpan], place: Location) -> Option<String> {
    // An expression such as `CAST(table AS DOUBLE)` fails two words later.
    const LOOK_BACK: usize = 3;
    let said = |token: &&TokenWithSpan| !matches!(token.token, Token::Whitespace(_));
    let mut tokens = tokens.iter().filter(said).peekable();
    let mut near: VecDeque<(&TokenWithSpan, Option<&Token>)> = VecDeque::new();
    while let Some(token) = tokens.next() {
        if token.span.start > place {
            break;
        }
        near.push_back((token, tokens.peek().map(|next| &next.token)));
        if near.len() > LOOK_BACK {
            near.pop_front();
        }
    }
    near.into_iter().rev().find_map(|(token, next)| match &token.token {
        Token::Word(word) if word.quote_style.is_none() && is_reserved(word, next) => {
            Some(word.value.to_lowercase())
        }
        _ => None,
    })
}

/// Whether a word at the place of a column is not read as one, and is nothing else
/// either, as `TABLE name` and `INTERVAL '1'` are.
fn is_reserved(word: &Word, next: Option<&Token>) -> bool {
    let is_known = matches!(
        word.keyword,
        Keyword::ALL
            | Keyword::ANY
            | Keyword::CUBE
            | Keyword::DISTINCT
            | Keyword::EXISTS
            | Keyword::FROM
            | Keyword::INTERVAL
            | Keyword::NOT
            | Keyword::ROLLUP
            | Keyword::TABLE
            | Keyword::TOP
            | Keyword::TRIM
    );
    is_known && !next.is_some_and(is_operand)
}

/// Whether a token behind such a word is what belongs to it.
fn is_operand(token: &Token) -> bool {
    match token {
        Token::Word(word) => !matches!(
            word.keyword,
            Keyword::AND
                | Keyword::AS
                | Keyword::BETWEEN
                | Keyword::FROM
                | Keyword::IN
                | Keyword::IS
                | Keyword::LIKE
                | Keyword::OR
        ),
        Token::SingleQuotedString(_) | Token::Number(..) | Token::LParen => true,
        _ => false,
    }
}
