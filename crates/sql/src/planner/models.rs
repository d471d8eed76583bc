//! `CREATE MODEL`, and the model that is there without one. Which families there are,
//! and what their options are, is the catalog's to say.

use std::borrow::Cow;

use tidecast_stream::{
    ModelCatalog, ModelFamily, ModelOption, ModelOptions, OptionKind, OptionValue, Secret, Unset,
};

use super::options::{OptionReader, OptionRules};
use crate::dialect::ModelStatement;
use crate::error::{Problem, did_you_mean};
use crate::spec::ModelDefinition;

/// The option that says which family a model is of.
const PROVIDER: &str = "provider";

/// How the path of a checkpoint begins that is built in.
const BUILTIN: &str = "builtin:";

/// Returns the model of pipelines that name none, if the catalog has one.
pub(super) fn default_model(catalog: &ModelCatalog) -> Option<ModelDefinition> {
    let family = catalog.family(catalog.default_family)?;
    let mut options = ModelOptions::default();
    for option in family.options {
        if let Unset::Value(value) = option.unset {
            options.set(option.name, value);
        }
    }
    Some(ModelDefinition { name: catalog.default_model.to_owned(), family, options })
}

/// Returns the model that `CREATE MODEL` declares.
pub(super) fn model(
    statement: &ModelStatement,
    catalog: &ModelCatalog,
    problems: &mut Vec<Problem>,
) -> Option<ModelDefinition> {
    let before = problems.len();
    let family = family(statement, catalog, problems)?;
    let known: Vec<&str> =
        [PROVIDER].into_iter().chain(family.options.iter().map(|option| option.name)).collect();
    let elsewhere = |name: &str| {
        let mut others = catalog.families.iter();
        let other = others.find(|other| other.option(name).is_some())?;
        Some(Cow::Owned(format!("{} models", other.name)))
    };
    let rules = OptionRules {
        owner: &format!("a {} model", family.name),
        known: &known,
        unsupported: family.unsupported,
        elsewhere: &elsewhere,
        prefixes: &[],
    };
    let reader = OptionReader::new(&statement.options, rules, problems);
    let mut options = ModelOptions::default();
    for option in family.options {
        let value = value(option, &reader, problems);
        check_requirement(option, &reader, problems);
        match (value, option.unset) {
            (Some(value), _) => options.set(option.name, value),
            (None, Unset::Value(usual)) => options.set(option.name, usual),
            (None, Unset::Silent | Unset::Decided(_)) => {}
        }
    }
    let name = statement.name.value.clone();
    (problems.len() == before).then_some(ModelDefinition { name, family, options })
}

/// Returns the family that `'provider'` names.
fn family(
    statement: &ModelStatement,
    catalog: &ModelCatalog,
    problems: &mut Vec<Problem>,
) -> Option<ModelFamily> {
    let names = || catalog.families.iter().map(|family| family.name);
    let provider = statement.options.pairs.iter().find(|(key, _)| key.value == PROVIDER);
    let Some((_, provider)) = provider else {
        let wanted = either(names().map(|name| format!("'{PROVIDER}'='{name}'")));
        problems.push(Problem::new(
            statement.name.span,
            format!("option `{PROVIDER}` is missing, expected {wanted}"),
        ));
        return None;
    };
    let found = catalog.family(&provider.value);
    if found.is_none() {
        let wanted = either(names().map(|name| format!("`{name}`")));
        let remedy = did_you_mean(&provider.value, names());
        problems.push(Problem::new(
            provider.span,
            format!("unknown provider `{}`, expected {wanted}{remedy}", provider.value),
        ));
    }
    found
}

/// Returns what is said of an option, if that is one of its values.
fn value(
    option: &ModelOption,
    reader: &OptionReader<'_>,
    problems: &mut Vec<Problem>,
) -> Option<OptionValue> {
    let name = option.name;
    match option.kind {
        OptionKind::Text => reader.filled(name, problems).map(OptionValue::Text),
        OptionKind::Secret => {
            let text = reader.filled(name, problems)?;
            Some(OptionValue::Secret(Secret::new(text)))
        }
        OptionKind::Count { .. } => {
            Some(OptionValue::Text(reader.count(name, problems)?.to_string()))
        }
        OptionKind::Choice(values) => {
            let choices: Vec<(&str, &str)> = values.iter().map(|&value| (value, value)).collect();
            reader.choice(name, &choices, &[], problems).map(OptionValue::from)
        }
        OptionKind::Device => {
            let device = reader.filled(name, problems);
            check_device(name, reader, problems);
            device.map(OptionValue::Text)
        }
        OptionKind::Checkpoint { builtin, expected } => {
            let path = reader.filled(name, problems)?;
            if path.starts_with(BUILTIN) && !builtin.contains(&path.as_str()) {
                let place = reader.span(name)?;
                problems.push(Problem::new(
                    place,
                    format!("unknown built-in model `{path}`, expected {expected}"),
                ));
            }
            Some(OptionValue::Text(path))
        }
    }
}

/// Refuses an option that another one gives no meaning.
fn check_requirement(option: &ModelOption, reader: &OptionReader<'_>, problems: &mut Vec<Problem>) {
    let (Some(required), Some(place)) = (option.requires, reader.span(option.name)) else {
        return;
    };
    let other = reader.text(required.option);
    if !other.is_some_and(|other| other.value.starts_with(required.prefix)) {
        problems.push(Problem::new(
            place,
            format!("option `{}` goes with {}", option.name, required.described),
        ));
    }
}

fn check_device(name: &str, reader: &OptionReader<'_>, problems: &mut Vec<Problem>) {
    let Some(device) = reader.text(name) else { return };
    let ordinal = device.value.strip_prefix("cuda:").map(str::parse::<usize>);
    let is_known =
        matches!(device.value.as_str(), "auto" | "cpu" | "cuda") || matches!(ordinal, Some(Ok(_)));
    if !is_known {
        let remedy = did_you_mean(&device.value, ["auto", "cpu", "cuda", "cuda:0"]);
        problems.push(Problem::new(
            device.span,
            format!(
                "unknown device `{}`, expected `auto`, `cpu`, `cuda` or `cuda:0`{remedy}",
                device.value
            ),
        ));
    }
}

/// Returns the choices in one phrase: `a, b or c`.
fn either(choices: impl Iterator<Item = String>) -> String {
    let choices: Vec<String> = choices.collect();
    match choices.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => choices.concat(),
    }
}
