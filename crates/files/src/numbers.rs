//! Numbers as people and programs write them, decided for a column.
//!
//! `1.234` is a little more than one here and a little more than a thousand
//! there, and only the column tells. So every value of a sample has a say in how
//! its column is written ([`Evidence`]), other columns of the file where it alone
//! cannot tell, and each value is then read in that [`NumberStyle`] or not at all.

use std::fmt;

use arrow::compute::kernels::cast_utils::Parser;
use arrow::datatypes::Float64Type;

/// What separates the digits of a column's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NumberStyle {
    decimal: Decimal,
    grouping: Grouping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decimal {
    Point,
    Comma,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grouping {
    None,
    /// The comma or point that is not the decimal sign.
    Mark,
    Blank,
    Apostrophe,
    Underscore,
}

impl Default for NumberStyle {
    fn default() -> Self {
        Self { decimal: Decimal::Point, grouping: Grouping::None }
    }
}

/// All styles, those first that are taken where a column does not tell.
const STYLES: [NumberStyle; 9] = {
    use Decimal::{Comma, Point};
    use Grouping::{Apostrophe, Blank, Mark, None, Underscore};
    const fn style(decimal: Decimal, grouping: Grouping) -> NumberStyle {
        NumberStyle { decimal, grouping }
    }
    [
        style(Point, None),
        style(Comma, None),
        style(Point, Mark),
        style(Comma, Mark),
        style(Point, Blank),
        style(Comma, Blank),
        style(Point, Apostrophe),
        style(Comma, Apostrophe),
        style(Point, Underscore),
    ]
};

impl fmt::Display for NumberStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimal = match self.decimal {
            Decimal::Point => "decimal point",
            Decimal::Comma => "decimal comma",
        };
        let grouping = match (self.grouping, self.decimal) {
            (Grouping::None, _) => return f.write_str(decimal),
            (Grouping::Mark, Decimal::Point) => "`,`",
            (Grouping::Mark, Decimal::Comma) => "`.`",
            (Grouping::Blank, _) => "blanks",
            (Grouping::Apostrophe, _) => "apostrophes",
            (Grouping::Underscore, _) => "`_`",
        };
        write!(f, "{decimal}, thousands separated by {grouping}")
    }
}

impl NumberStyle {
    pub(crate) fn is_plain(self) -> bool {
        self == Self::default()
    }

    /// Returns the number that `text` is; blanks around it do not count.
    pub(crate) fn number(self, text: &str) -> Option<f64> {
        let is_bare = || text.bytes().all(|byte| byte.is_ascii_digit());
        if self.is_plain() || is_bare() {
            return plain_number(text);
        }
        let mut digits = Digits::default();
        if self.write_plain(text.trim(), |byte| digits.push(byte)) {
            return plain_number(digits.as_str()?);
        }
        is_word(text).then(|| plain_number(text)).flatten()
    }

    /// Returns the number as programs write it, with nothing between thousands
    /// and a decimal point; `None` if it is not written in this style.
    pub(crate) fn plain(self, text: &str) -> Option<String> {
        let mut plain = String::new();
        let text = text.trim();
        let is_number = self.write_plain(text, |byte| plain.push(char::from(byte)));
        is_number.then_some(plain).or_else(|| is_word(text).then(|| text.to_owned()))
    }

    /// Hands over the bytes of [`NumberStyle::plain`]; returns whether `text` is
    /// a number in this style.
    fn write_plain(self, text: &str, mut write: impl FnMut(u8)) -> bool {
        if !Shape::of(text).is_some_and(|shape| shape.is_in(self)) {
            return false;
        }
        for character in text.chars() {
            match Mark::of(character) {
                Some(mark) if mark == self.decimal.mark() => write(b'.'),
                Some(_) => {}
                None if character == MINUS => write(b'-'),
                // All others are digits, signs and the exponent's letter.
                None => write(u8::try_from(character).unwrap_or(b'?')),
            }
        }
        true
    }

    fn accepts_mark(self, mark: Mark) -> bool {
        match self.grouping {
            Grouping::None => false,
            Grouping::Mark => match self.decimal {
                Decimal::Point => mark == Mark::Comma,
                Decimal::Comma => mark == Mark::Point,
            },
            Grouping::Blank => mark == Mark::Blank,
            Grouping::Apostrophe => mark == Mark::Apostrophe,
            Grouping::Underscore => mark == Mark::Underscore,
        }
    }
}

/// The minus sign that typesetters put.
const MINUS: char = '\u{2212}';

fn plain_number(text: &str) -> Option<f64> {
    let negative = || {
        let rest = text.trim().strip_prefix(MINUS)?;
        let starts_with_digit =
            rest.starts_with(|first: char| first.is_ascii_digit() || first == '.');
        starts_with_digit.then(|| Float64Type::parse(rest)).flatten().map(|number| -number)
    };
    Float64Type::parse(text).or_else(|| Float64Type::parse(text.trim())).or_else(negative)
}

/// `NaN`, `inf`: the same in all styles.
fn is_word(text: &str) -> bool {
    text.trim().bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// The bytes of a number, without a place in memory for each.
struct Digits {
    bytes: [u8; 64],
    length: usize,
}

impl Default for Digits {
    fn default() -> Self {
        Self { bytes: [0; 64], length: 0 }
    }
}

impl Digits {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
        }
        self.length += 1;
    }

    /// `None` if there are more than anybody writes.
    fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes.get(..self.length)?).ok()
    }
}

impl Decimal {
    fn mark(self) -> Mark {
        match self {
            Self::Point => Mark::Point,
            Self::Comma => Mark::Comma,
        }
    }
}

/// What may stand between digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Point,
    Comma,
    Blank,
    Apostrophe,
    Underscore,
}

impl Mark {
    fn of(character: char) -> Option<Self> {
        Some(match character {
            '.' => Self::Point,
            ',' => Self::Comma,
            // No-break, thin and narrow no-break spaces are what typesetters put.
            ' ' | '\u{A0}' | '\u{2009}' | '\u{202F}' => Self::Blank,
            '\'' | '\u{2019}' => Self::Apostrophe,
            '_' => Self::Underscore,
            _ => return None,
        })
    }
}

/// Most marks in a number.
const MAX_MARKS: usize = 12;

/// Runs of digits, and the marks between them.
#[derive(Debug)]
struct Shape {
    /// Digits in front of the first mark.
    first: usize,
    starts_with_zero: bool,
    /// Each mark, and the digits behind it; so many of them count.
    all_marks: [(Mark, usize); MAX_MARKS],
    count: usize,
    ends_with_zero: bool,
}

impl Shape {
    /// Returns the shape of a number without blanks around; `None` if it is none
    /// in any style.
    fn of(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix(['-', '+', MINUS]).unwrap_or(text);
        let (digits, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, Some(exponent)),
            None => (unsigned, None),
        };
        if let Some(exponent) = exponent {
            let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            if exponent.is_empty() || !exponent.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
        }
        let mut shape = Self {
            first: 0,
            starts_with_zero: digits.starts_with('0'),
            all_marks: [(Mark::Point, 0); MAX_MARKS],
            count: 0,
            ends_with_zero: digits.ends_with('0'),
        };
        for character in digits.chars() {
            if let Some(mark) = Mark::of(character) {
                *shape.all_marks.get_mut(shape.count)? = (mark, 0);
                shape.count += 1;
            } else if !character.is_ascii_digit() {
                return None;
            } else {
                let last =
                    shape.count.checked_sub(1).and_then(|last| shape.all_marks.get_mut(last));
                *last.map_or(&mut shape.first, |(_, run)| run) += 1;
            }
        }
        let digits = shape.first + shape.marks().iter().map(|(_, run)| run).sum::<usize>();
        (digits > 0).then_some(shape)
    }

    fn marks(&self) -> &[(Mark, usize)] {
        self.all_marks.get(..self.count).unwrap_or_default()
    }

    fn is_in(&self, style: NumberStyle) -> bool {
        let (decimals, groups) = match self.marks().split_last() {
            Some((last, groups)) if last.0 == style.decimal.mark() => (Some(last.1), groups),
            _ => (None, self.marks()),
        };
        if groups.is_empty() {
            return self.first > 0 || decimals.is_some_and(|digits| digits > 0);
        }
        // Thousands, or as in India lakhs and crores: groups of two in front of
        // the last three digits.
        let is_grouped = groups.iter().enumerate().all(|(number, (mark, run))| {
            let is_last = number + 1 == groups.len();
            style.accepts_mark(*mark) && (*run == 3 || (*run == 2 && !is_last))
        });
        is_grouped && (1..=3).contains(&self.first) && !self.starts_with_zero
    }

    /// Whether a single mark stands in front of the last three digits, so that it
    /// may separate thousands or decimals.
    fn is_ambiguous(&self, mark: Mark) -> bool {
        self.marks() == [(mark, 3)] && (1..=3).contains(&self.first) && !self.starts_with_zero
    }
}

/// What a sample of a column's texts says of how its numbers are written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    /// How many texts are numbers, by style.
    accepted: [usize; STYLES.len()],
    /// All texts.
    seen: usize,
    /// Numbers that have a decimal sign, and it can be nothing else.
    points: usize,
    commas: usize,
    /// Numbers in which a mark may separate thousands or decimals, by mark.
    ambiguous_points: usize,
    ambiguous_commas: usize,
    /// Whether one of those ends in zero.
    has_trailing_zero: bool,
    /// The first of them.
    example: Option<String>,
    has_marks: bool,
    /// Numbers without any mark; and those of four digits or more.
    bare: usize,
    long_bare: usize,
}

/// So many values with three digits behind the mark, none with fewer, are no
/// decimals of which trailing zeros were left out.
const SURELY: usize = 30;

impl Evidence {
    /// Counts a text that is not empty and not a word for "missing".
    pub(crate) fn add(&mut self, text: &str) {
        self.seen += 1;
        let Some(shape) = Shape::of(text.trim()) else { return };
        self.has_marks |= !shape.marks().is_empty();
        let mut points = false;
        let mut commas = false;
        for (count, style) in self.accepted.iter_mut().zip(STYLES) {
            if shape.is_in(style) {
                *count += 1;
                let has_decimals =
                    shape.marks().last().is_some_and(|(mark, _)| *mark == style.decimal.mark());
                match style.decimal {
                    Decimal::Point => points |= has_decimals,
                    Decimal::Comma => commas |= has_decimals,
                }
            }
        }
        if shape.marks().is_empty() {
            self.bare += 1;
            self.long_bare += usize::from(shape.first > 3);
        } else if shape.is_ambiguous(Mark::Point) || shape.is_ambiguous(Mark::Comma) {
            match shape.marks().first() {
                Some((Mark::Point, _)) => self.ambiguous_points += 1,
                _ => self.ambiguous_commas += 1,
            }
            self.has_trailing_zero |= shape.ends_with_zero;
            self.example.get_or_insert_with(|| text.trim().to_owned());
        } else {
            self.points += usize::from(points);
            self.commas += usize::from(commas);
        }
    }

    /// Returns whether there were texts, and all of them are numbers in one style.
    pub(crate) fn is_all_numbers(&self) -> bool {
        self.seen > 0 && self.accepted.contains(&self.seen)
    }

    /// Returns the decimal sign that the column's values show beyond doubt.
    pub(crate) fn decimal(&self) -> Option<Decimal> {
        match (self.points, self.commas) {
            (0, 0) => None,
            (points, commas) if points >= commas => Some(Decimal::Point),
            _ => Some(Decimal::Comma),
        }
    }

    /// Returns whether a number has a mark, so that its style matters.
    pub(crate) fn has_marks(&self) -> bool {
        self.has_marks
    }

    /// Decides the column's style. `of_file` is the decimal sign that other
    /// columns show, `delimiter` what separates fields.
    pub(crate) fn decide(&self, of_file: Option<Decimal>, delimiter: Option<u8>) -> Decision {
        let most = self.accepted.iter().copied().max().unwrap_or(0);
        if most == 0 {
            return Decision::default();
        }
        let best: Vec<NumberStyle> = STYLES
            .into_iter()
            .zip(self.accepted)
            .filter(|(_, count)| *count == most)
            .map(|(style, _)| style)
            .collect();
        let chosen = |wanted: &dyn Fn(&NumberStyle) -> bool| {
            best.iter().copied().find(|style| wanted(style))
        };
        let by_file = |decimal| chosen(&|style: &NumberStyle| style.decimal == decimal);
        let ambiguous = self.ambiguous_points.max(self.ambiguous_commas);
        let is_open = ambiguous > 0 && self.decimal().is_none() && {
            let first = best.first().copied().unwrap_or_default();
            best.iter().any(|style| style.decimal != first.decimal)
        };
        if !is_open {
            let style = of_file.and_then(by_file).filter(|_| self.decimal().is_none());
            let style = style.or_else(|| best.first().copied()).unwrap_or_default();
            return Decision { style, doubt: None };
        }
        // `1.234` or `1,234` in all numbers that have a mark.
        let is_point = self.ambiguous_points > 0;
        let (as_decimals, as_thousands) = if is_point {
            (Decimal::Point, Decimal::Comma)
        } else {
            (Decimal::Comma, Decimal::Point)
        };
        let are_thousands =
            self.bare > 0 && self.long_bare == 0 && (self.has_trailing_zero || ambiguous >= SURELY);
        let (decimal, is_told) = match of_file {
            _ if are_thousands => (as_thousands, true),
            Some(decimal) => (decimal, true),
            None if is_point => (as_decimals, false),
            None if delimiter.is_none_or(|byte| byte == b',') => (as_thousands, false),
            None => (as_decimals, false),
        };
        let style = by_file(decimal).or_else(|| best.first().copied()).unwrap_or_default();
        let doubt = (!is_told).then(|| self.doubt(style)).flatten();
        Decision { style, doubt }
    }

    fn doubt(&self, style: NumberStyle) -> Option<String> {
        let example = self.example.as_deref()?;
        let read = style.number(example)?;
        let other = STYLES
            .into_iter()
            .filter_map(|other| other.number(example))
            .find(|number| *number != read)?;
        Some(format!("`{example}` is read as {read}, though it may be {other}"))
    }
}

/// How a column's numbers are read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Decision {
    pub(crate) style: NumberStyle,
    /// What may be wrong, where nothing in the file decides.
    pub(crate) doubt: Option<String>,
}

#[cfg(test)]
mod tests;
