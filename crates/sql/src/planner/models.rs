//! `CREATE MODEL`, and the model that is there without one.

use tidecast_stream::Secret;

use super::options::{OptionReader, OptionRules};
use crate::dialect::ModelStatement;
use crate::error::{Problem, did_you_mean};
use crate::spec::ModelDefinition;

/// The model a pipeline uses when it names none.
pub(super) const DEFAULT_MODEL: &str = "tiny";

const BUILTIN_TINY: &str = "builtin:tiny";

/// How a path of the Hugging Face hub begins.
const HUB: &str = "hf://";

const MOIRAI: OptionRules = OptionRules {
    owner: "a moirai-moe model",
    known: &[
        "provider",
        "path",
        "revision",
        "token",
        "license.accept",
        "device",
        "rollout",
        "dtype",
        "patch.size",
    ],
    unsupported: &["samples"],
    elsewhere: |name| (name == "season").then_some("seasonal-naive models"),
    has_properties: false,
};

const SEASONAL_NAIVE: OptionRules = OptionRules {
    owner: "a seasonal-naive model",
    known: &["provider", "season", "device"],
    unsupported: &[],
    elsewhere: |name| MOIRAI.known[1..].contains(&name).then_some("moirai-moe models"),
    has_properties: false,
};

/// Returns the built-in model, under the name `tiny`.
pub(super) fn default_model() -> ModelDefinition {
    ModelDefinition {
        name: DEFAULT_MODEL.to_owned(),
        provider: "moirai-moe".to_owned(),
        path: Some(BUILTIN_TINY.to_owned()),
        revision: None,
        token: None,
        accepted_licence: None,
        device: "auto".to_owned(),
        rollout: None,
        dtype: None,
        patch_size: None,
        season: None,
    }
}

/// Returns the model that `CREATE MODEL` declares.
pub(super) fn model(
    statement: &ModelStatement,
    problems: &mut Vec<Problem>,
) -> Option<ModelDefinition> {
    let before = problems.len();
    let place = statement.name.span;
    let provider = statement.options.pairs.iter().find(|(key, _)| key.value == "provider");
    let rules = match provider.map(|(_, value)| (value.value.as_str(), value.span)) {
        Some(("moirai-moe", _)) => MOIRAI,
        Some(("seasonal-naive", _)) => SEASONAL_NAIVE,
        Some((other, span)) => {
            let remedy = did_you_mean(other, ["moirai-moe", "seasonal-naive"]);
            problems.push(Problem::new(
                span,
                format!(
                    "unknown provider `{other}`, expected `moirai-moe` or `seasonal-naive`{remedy}"
                ),
            ));
            return None;
        }
        None => {
            problems.push(Problem::new(
                place,
                "option `provider` is missing, expected 'provider'='moirai-moe' or \
                 'provider'='seasonal-naive'",
            ));
            return None;
        }
    };
    let reader = OptionReader::new(&statement.options, rules, problems);
    let provider = reader.required("provider", place, problems)?;
    let path = reader.filled("path", problems);
    check_path(&reader, problems);
    let revision = reader.filled("revision", problems);
    let token = reader.filled("token", problems);
    for name in ["revision", "token"] {
        let is_hub = path.as_ref().is_some_and(|path| path.starts_with(HUB));
        if let (false, Some(place)) = (is_hub, reader.span(name)) {
            problems.push(Problem::new(
                place,
                format!("option `{name}` goes with a path of the hub, 'path'='hf://owner/name'"),
            ));
        }
    }
    let accepted_licence = reader.filled("license.accept", problems);
    let device = reader.filled("device", problems).unwrap_or_else(|| "auto".to_owned());
    check_device(&reader, problems);
    let rollout =
        reader.choice("rollout", &[("cached", "cached"), ("exact", "exact")], &[], problems);
    let kinds = ["f32", "f16", "bf16"].map(|name| (name, name));
    let dtype = reader.choice("dtype", &kinds, &[], problems);
    let patch_size = reader.count("patch.size", problems);
    let season = reader.count("season", problems);
    if problems.len() > before {
        return None;
    }
    let path = if provider == "moirai-moe" {
        Some(path.unwrap_or_else(|| BUILTIN_TINY.to_owned()))
    } else {
        path
    };
    Some(ModelDefinition {
        name: statement.name.value.clone(),
        provider,
        path,
        revision,
        token: token.map(Secret::new),
        accepted_licence,
        device,
        rollout: rollout.map(str::to_owned),
        dtype: dtype.map(str::to_owned),
        patch_size,
        season,
    })
}

fn check_path(reader: &OptionReader<'_>, problems: &mut Vec<Problem>) {
    if let Some(path) = reader.text("path")
        && path.value.starts_with("builtin:")
        && path.value != BUILTIN_TINY
    {
        problems.push(Problem::new(
            path.span,
            format!(
                "unknown built-in model `{}`, expected `{BUILTIN_TINY}`, a folder with \
                 config.json and model.safetensors, or `hf://owner/name`",
                path.value
            ),
        ));
    }
}

fn check_device(reader: &OptionReader<'_>, problems: &mut Vec<Problem>) {
    let Some(device) = reader.text("device") else { return };
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
