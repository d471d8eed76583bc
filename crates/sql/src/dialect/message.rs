//! sqlparser's messages in our tone, with their places as values.

use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Location, Span};

use crate::error::Problem;

/// Gives one of sqlparser's errors its place and our tone.
pub(super) fn parser_problem(error: &ParserError, end: Location) -> Problem {
    let (ParserError::ParserError(text) | ParserError::TokenizerError(text)) = error else {
        return Problem::new(
            Span::empty(),
            "the statement nests too deep, expected fewer parentheses within each other",
        );
    };
    let (said, place) = split_place(text);
    let place = place.unwrap_or(end);
    // Both `Expected: x, found: y` and `Expected x, found: y` are said.
    let parts = said
        .strip_prefix("Expected: ")
        .or_else(|| said.strip_prefix("Expected "))
        .and_then(|rest| rest.rsplit_once(", found: "));
    let message = match parts {
        Some((expected, "EOF")) => {
            format!("the statement ends too early, expected {}", expected_words(expected))
        }
        Some((expected, found)) => {
            format!("found `{found}`, expected {}", expected_words(expected))
        }
        None => lower_first(said),
    };
    Problem::new(Span::new(place, place), message)
}

/// Returns what to add where a word of SQL stands in the place of a column.
pub(crate) fn column_in_quotes(word: &str) -> String {
    format!("; `{word}` is a word of SQL, and a column of that name is written `\"{word}\"`")
}

/// Puts a token into backticks and leaves words as they are.
fn expected_words(expected: &str) -> String {
    let is_token = !expected.chars().any(|c| c.is_alphanumeric());
    if is_token { format!("`{expected}`") } else { lower_first(expected) }
}

/// Splits `… at Line: 1, Column: 2`, sqlparser's way to say where.
fn split_place(text: &str) -> (&str, Option<Location>) {
    let Some((said, place)) = text.rsplit_once(" at Line: ") else { return (text, None) };
    let location = place.split_once(", Column: ").and_then(|(line, column)| {
        Some(Location { line: line.parse().ok()?, column: column.parse().ok()? })
    });
    (said, location)
}

/// Returns the text with its first letter small, unless it is a keyword.
pub(crate) fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    match (characters.next(), characters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_text_becomes_a_place() {
        let error = ParserError::ParserError("Expected: ), found: x at Line: 3, Column: 14".into());
        let end = Location { line: 9, column: 9 };
        let problem = parser_problem(&error, end);
        assert_eq!(problem.message, "found `x`, expected `)`");
        assert_eq!(problem.span.start, Location { line: 3, column: 14 });
        let error = ParserError::ParserError("Expected: identifier, found: EOF".into());
        assert_eq!(parser_problem(&error, end).span.start, end);
    }
}
