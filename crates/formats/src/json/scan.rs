//! The grammar: from a record's bytes to its fields, values unread.
//!
//! Taken as they come are a comma too many or too few and a number whose
//! characters are those of numbers, for the value's column looks closer; `NaN`,
//! `Infinity` and `-Infinity` are values, since Python and others write them.

use super::MAX_DEPTH;
use crate::explain::quote;
use crate::value::Value;

/// A field's name as it is written, and whether it has escapes.
pub(crate) type Name<'a> = (&'a str, bool);

/// A record and how much of it is read.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Reads the one object that the text has to be, field by field.
    ///
    /// # Errors
    /// If it is something else, with the reason.
    #[inline]
    pub(crate) fn object(
        mut self,
        mut field: impl FnMut(Name<'a>, Value<'a>),
    ) -> Result<(), String> {
        self.open()?;
        while let Some(name) = self.name()? {
            let value = self.value()?;
            field(name, value);
        }
        self.blanks();
        match self.peek() {
            None => Ok(()),
            Some(b'{') => {
                Err("more than one JSON value: expected one object per record".to_owned())
            }
            Some(_) => Err(self.unexpected("behind the object")),
        }
    }

    /// Reads the list that the text has to be, which was read as a whole before, element by
    /// element.
    ///
    /// # Errors
    /// If it is something else, or `element` finds fault.
    pub(crate) fn list(
        mut self,
        mut element: impl FnMut(Value<'a>) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.next() != Some(b'[') {
            return Err("no list".to_owned());
        }
        loop {
            self.blanks_and_commas();
            match self.peek() {
                Some(b']') | None => return Ok(()),
                Some(_) => element(self.value()?)?,
            }
        }
    }

    fn open(&mut self) -> Result<(), String> {
        self.blanks();
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                Ok(())
            }
            None => Err("an empty value: expected a JSON object".to_owned()),
            Some(b'[') => Err("a JSON array: expected a JSON object".to_owned()),
            Some(_) => {
                let got = quote(self.rest().as_bytes());
                Err(format!("not a JSON object: expected `{{`, got `{got}`"))
            }
        }
    }

    // Inlined whoever calls: a call for each name and value costs a tenth of decoding.

    /// Returns the next field's name, having passed the colon; `None` at the end
    /// of the object.
    #[inline(always)]
    fn name(&mut self) -> Result<Option<Name<'a>>, String> {
        self.blanks_and_commas();
        match self.next() {
            Some(b'"') => {}
            Some(b'}') => return Ok(None),
            Some(_) => return Err(self.unexpected_before("where a field's name begins")),
            None => return Err(self.cut_off()),
        }
        let name = self.string()?;
        self.blanks();
        match self.next() {
            Some(b':') => Ok(Some(name)),
            Some(_) => Err(self.unexpected_before("behind a field's name")),
            None => Err(self.cut_off()),
        }
    }

    #[inline(always)]
    fn value(&mut self) -> Result<Value<'a>, String> {
        self.blanks();
        let start = self.at;
        match self.next() {
            Some(b'"') => {
                let (text, has_escapes) = self.string()?;
                Ok(Value::Text(text, has_escapes))
            }
            Some(b'0'..=b'9') => Ok(self.number(start)),
            Some(b'-') if self.peek() == Some(b'I') => {
                self.word("Infinity")?;
                Ok(Value::Infinite(self.since(start)))
            }
            Some(b'-') => Ok(self.number(start)),
            Some(b'{' | b'[') => {
                self.at = start;
                self.nested()?;
                Ok(Value::Nested(self.since(start)))
            }
            Some(first) => {
                self.at = start;
                match first {
                    b't' => self.word("true").map(|()| Value::Truth(true)),
                    b'f' => self.word("false").map(|()| Value::Truth(false)),
                    b'n' => self.word("null").map(|()| Value::Null),
                    b'N' => self.word("NaN").map(|()| Value::NotANumber),
                    b'I' => self.word("Infinity").map(|()| Value::Infinite("Infinity")),
                    _ => Err(self.unexpected("where a value begins")),
                }
            }
            None => Err(self.cut_off()),
        }
    }

    /// Passes an object or a list, whatever is in it. No recursion: how deep it
    /// goes is for others to say, and the stack is ours.
    fn nested(&mut self) -> Result<(), String> {
        // The brackets that are open, the innermost last; the record is one.
        let mut open: Vec<u8> = Vec::new();
        loop {
            self.blanks();
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    self.at += 1;
                    open.push(bracket);
                    if open.len() >= MAX_DEPTH {
                        return Err(format!("nested deeper than {MAX_DEPTH} levels"));
                    }
                }
                _ => {
                    self.value()?;
                }
            }
            // Behind a value: its list or object goes on, or it and others end.
            loop {
                let Some(bracket) = open.last() else { return Ok(()) };
                if *bracket == b'{' {
                    if self.name()?.is_some() {
                        break;
                    }
                } else {
                    self.blanks_and_commas();
                    match self.peek() {
                        Some(b']') => self.at += 1,
                        Some(_) => break,
                        None => return Err(self.cut_off()),
                    }
                }
                open.pop();
            }
        }
    }

    /// Reads to the closing quote.
    #[inline(always)]
    fn string(&mut self) -> Result<(&'a str, bool), String> {
        let start = self.at;
        let mut has_escapes = false;
        loop {
            match self.next() {
                Some(b'"') => {
                    return Ok((self.text.get(start..self.at - 1).unwrap_or(""), has_escapes));
                }
                Some(b'\\') => {
                    has_escapes = true;
                    self.at += 1;
                }
                Some(_) => {}
                None => return Err(self.cut_off()),
            }
        }
    }

    #[inline]
    fn number(&mut self, start: usize) -> Value<'a> {
        while let Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E') = self.peek() {
            self.at += 1;
        }
        Value::Number(self.since(start))
    }

    fn word(&mut self, word: &str) -> Result<(), String> {
        for expected in word.bytes() {
            match self.peek() {
                Some(byte) if byte == expected => self.at += 1,
                Some(_) => return Err(self.unexpected(&format!("in `{word}`"))),
                None => return Err(self.cut_off()),
            }
        }
        Ok(())
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or("")
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek();
        self.at += 1;
        byte
    }

    #[inline]
    fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    #[inline]
    fn blanks_and_commas(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t' | b',') = self.peek() {
            self.at += 1;
        }
    }

    fn cut_off(&self) -> String {
        "the JSON object is cut off: expected `}`".to_owned()
    }

    fn unexpected_before(&mut self, place: &str) -> String {
        self.at -= 1;
        self.unexpected(place)
    }

    /// What stands here is not what may.
    fn unexpected(&self, place: &str) -> String {
        let found: String = self.rest().chars().take(1).collect();
        let found = quote(found.as_bytes());
        format!("malformed JSON: unexpected `{found}` {place} (byte {})", self.at + 1)
    }
}

/// Returns the text that a string with escapes stands for.
///
/// # Errors
/// If an escape is none, or one half of a character.
pub(crate) fn unescape(text: &str) -> Result<String, String> {
    let mut unescaped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        unescaped.push_str(plain);
        let mut characters = escape.chars();
        let character = characters.next();
        rest = characters.as_str();
        unescaped.push(match character {
            Some(character @ ('"' | '\\' | '/')) => character,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => unicode(&mut rest)?,
            other => {
                let other: String = other.into_iter().collect();
                return Err(format!(
                    "malformed JSON: `\\{}` is no escape",
                    quote(other.as_bytes())
                ));
            }
        });
    }
    unescaped.push_str(rest);
    Ok(unescaped)
}

/// Takes the four digits behind `\u`, and those of the pair's other half.
fn unicode(rest: &mut &str) -> Result<char, String> {
    let mut character = || {
        let first = code_unit(rest)?;
        if let Some(character) = char::from_u32(first.into()) {
            return Some(character);
        }
        *rest = rest.strip_prefix("\\u")?;
        let second = code_unit(rest)?;
        char::decode_utf16([first, second]).next()?.ok()
    };
    character().ok_or_else(|| "malformed JSON: a `\\u` escape that is no character".to_owned())
}

fn code_unit(rest: &mut &str) -> Option<u16> {
    let (digits, behind) = rest.split_at_checked(4)?;
    *rest = behind;
    // A sign would be taken, too.
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}
