//! `WITH (…)`: options taken one by one, and whatever is left over is an error.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use sqlparser::tokenizer::Span;

use crate::dialect::duration::parse_duration;
use crate::dialect::{OptionList, Placed};
use crate::error::{Problem, did_you_mean, nearest, one_of};

/// What a kind of statement knows about options.
#[derive(Clone, Copy)]
pub(super) struct OptionRules<'r> {
    /// Whose options they are, for messages: `a kafka source table`.
    pub(super) owner: &'r str,
    /// Options that mean something.
    pub(super) known: &'r [&'r str],
    /// Options that other versions or products have and this one does not.
    pub(super) unsupported: &'r [&'r str],
    /// Returns whose option it is, where it is somebody else's.
    pub(super) elsewhere: &'r dyn Fn(&str) -> Option<Cow<'static, str>>,
    /// How options begin of which everybody names their own: `properties.`.
    pub(super) prefixes: &'r [&'r str],
}

/// The options of one statement, being read.
pub(super) struct OptionReader<'a> {
    rules: OptionRules<'a>,
    values: BTreeMap<&'a str, (Span, &'a Placed<String>)>,
}

impl<'a> OptionReader<'a> {
    /// Returns a reader of `list`; what is unknown, unsupported or given twice
    /// is reported at once.
    pub(super) fn new(
        list: &'a OptionList,
        rules: OptionRules<'a>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut values = BTreeMap::new();
        for (key, value) in &list.pairs {
            let name = key.value.as_str();
            let is_own = rules
                .prefixes
                .iter()
                .any(|prefix| name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()));
            if !is_own && !rules.known.contains(&name) {
                problems.push(Problem::new(key.span, rules.refusal(name)));
            } else if values.insert(name, (key.span, value)).is_some() {
                problems.push(Problem::new(key.span, format!("option `{name}` is given twice")));
            }
        }
        Self { rules, values }
    }

    /// Returns where an option's value stands.
    pub(super) fn span(&self, name: &str) -> Option<Span> {
        self.values.get(name).map(|(_, value)| value.span)
    }

    /// Returns the text of an option.
    pub(super) fn text(&self, name: &str) -> Option<&'a Placed<String>> {
        self.values.get(name).map(|(_, value)| *value)
    }

    /// Returns the text of an option, which may not be empty.
    pub(super) fn filled(&self, name: &str, problems: &mut Vec<Problem>) -> Option<String> {
        let value = self.text(name)?;
        if value.value.trim().is_empty() {
            problems.push(Problem::new(
                value.span,
                format!("option `{name}` is empty, expected a value or no such option"),
            ));
            return None;
        }
        Some(value.value.clone())
    }

    /// Returns the text of an option that must be there; `place` is the
    /// statement's name.
    pub(super) fn required(
        &self,
        name: &str,
        place: Span,
        problems: &mut Vec<Problem>,
    ) -> Option<String> {
        if self.text(name).is_none() {
            let owner = self.rules.owner;
            problems.push(Problem::new(
                place,
                format!("option `{name}` is missing, expected '{name}'='…' for {owner}"),
            ));
            return None;
        }
        self.filled(name, problems)
    }

    /// Returns the meaning of an option with a fixed set of values. A value in
    /// `unsupported` is refused as such.
    pub(super) fn choice<T: Copy>(
        &self,
        name: &str,
        choices: &[(&str, T)],
        unsupported: &[&str],
        problems: &mut Vec<Problem>,
    ) -> Option<T> {
        let value = self.text(name)?;
        let found = value.value.as_str();
        if let Some((_, meaning)) = choices.iter().find(|(text, _)| *text == found) {
            return Some(*meaning);
        }
        let names = || choices.iter().map(|(text, _)| *text);
        let message = if unsupported.contains(&found) {
            let wanted = one_of(names());
            format!("'{name}'='{found}' is not supported in this version, expected {wanted}")
        } else {
            let wanted = one_of(names());
            let remedy = did_you_mean(found, names());
            format!("unknown value `{found}` of option `{name}`, expected {wanted}{remedy}")
        };
        problems.push(Problem::new(value.span, message));
        None
    }

    /// Returns the length of time of an option; `'none'` where `or_none` allows
    /// it, is `Some(None)`.
    pub(super) fn duration(
        &self,
        name: &str,
        or_none: bool,
        problems: &mut Vec<Problem>,
    ) -> Option<Option<Duration>> {
        let value = self.text(name)?;
        if or_none && value.value.eq_ignore_ascii_case("none") {
            return Some(None);
        }
        match parse_duration(&value.value) {
            Ok(duration) if duration > Duration::ZERO => Some(Some(duration)),
            outcome => {
                let none = if or_none { ", or 'none'" } else { "" };
                let why = match outcome {
                    Ok(_) => format!("`{}` is zero, expected a longer time", value.value),
                    Err(error) => error.to_string(),
                };
                problems.push(Problem::new(value.span, format!("option `{name}`: {why}{none}")));
                None
            }
        }
    }

    /// Returns the whole number, at least 1, of an option.
    pub(super) fn count(&self, name: &str, problems: &mut Vec<Problem>) -> Option<usize> {
        let value = self.text(name)?;
        match value.value.parse::<usize>() {
            Ok(count) if count > 0 => Some(count),
            _ => {
                problems.push(Problem::new(
                    value.span,
                    format!(
                        "option `{name}` is `{}`, expected a whole number above zero",
                        value.value
                    ),
                ));
                None
            }
        }
    }

    /// Returns the options that begin with `prefix`, it taken off, with places.
    pub(super) fn beginning(&self, prefix: &str) -> BTreeMap<&'a str, (Span, &'a Placed<String>)> {
        self.values
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, *value)))
            .collect()
    }

    /// Returns `properties.*`, the prefix taken off, with places.
    pub(super) fn properties(&self) -> BTreeMap<&'a str, (Span, &'a Placed<String>)> {
        self.beginning("properties.")
    }
}

impl OptionRules<'_> {
    fn refusal(&self, name: &str) -> String {
        let owner = self.owner;
        if self.unsupported.contains(&name) {
            return format!("option `{name}` of {owner} is not supported in this version");
        }
        let lower = name.to_lowercase();
        let remedy = match ((self.elsewhere)(name), nearest(&lower, self.known.iter().copied())) {
            (Some(other), _) => format!("; it is an option of {other}"),
            (None, Some(known)) => format!("; did you mean `{known}`?"),
            (None, None) => String::new(),
        };
        let wanted = one_of(self.known.iter().copied());
        let own: String = self.prefixes.iter().map(|prefix| format!(" or `{prefix}…`")).collect();
        format!("unknown option `{name}` of {owner}, expected {wanted}{own}{remedy}")
    }
}
