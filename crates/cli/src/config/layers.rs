//! Gathering what was said, and by whom.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use tidecast_stream::secret::{self, HIDDEN};
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::error::ConfigError;
use super::{Config, DEFAULTS, Setting};

/// The tables whose keys are not ours.
const PROPERTIES: [(&str, &str); 2] = [("kafka", "properties"), ("kafka", "schema_registry")];
const ENVIRONMENT_PREFIX: &str = "TIDECAST_";

/// The settings so far, and who said each.
pub(super) struct Layers {
    defaults: Table,
    merged: Table,
    /// By full key (`kafka.group_prefix`).
    origins: BTreeMap<String, Origin>,
    /// How many files, environments and flags were put over the defaults.
    layer: usize,
}

/// Who said a setting.
struct Origin {
    place: String,
    layer: usize,
}

impl Layers {
    /// Returns the defaults alone.
    pub(super) fn defaults() -> Result<Self, ConfigError> {
        let place = "config/tidecast.toml";
        let defaults: Table =
            toml::from_str(DEFAULTS).map_err(|error| syntax(place, DEFAULTS, &error))?;
        Ok(Self { merged: defaults.clone(), defaults, origins: BTreeMap::new(), layer: 0 })
    }

    /// Puts a file over what there is.
    pub(super) fn add_file(&mut self, file: &str, text: &str) -> Result<(), ConfigError> {
        self.layer += 1;
        let spanned = DeTable::parse(text).map_err(|error| syntax(file, text, &error))?;
        let mut values: Table = toml::from_str(text).map_err(|error| syntax(file, text, &error))?;
        for (section, content) in spanned.get_ref() {
            let place = |offset: usize| format!("`{file}` line {}", line_of(text, offset));
            let section_place = place(section.span().start);
            let section = section.get_ref().as_ref();
            self.check_section(section, &section_place)?;
            let value = values.remove(section);
            let (DeValue::Table(content), Some(Value::Table(mut values))) =
                (content.get_ref(), value)
            else {
                let message = format!("`{section}` is a section; write `[{section}]`");
                return Err(ConfigError::Value { place: section_place, message });
            };
            for (key, content) in content {
                let key_place = place(key.span().start);
                let key = key.get_ref().as_ref();
                self.check_key(section, key, &key_place)?;
                let Some(value) = values.remove(key) else { continue };
                match (content.get_ref(), value) {
                    (DeValue::Table(names), Value::Table(mut properties))
                        if PROPERTIES.contains(&(section, key)) =>
                    {
                        for name in names.keys() {
                            let place = place(name.span().start);
                            let name = name.get_ref().as_ref();
                            let Some(value) = properties.remove(name) else { continue };
                            self.put(section, key, Some(name), value, place)?;
                        }
                    }
                    (_, value) => self.put(section, key, None, value, key_place)?,
                }
            }
        }
        Ok(())
    }

    /// Puts the variables `TIDECAST_<SECTION>__<KEY>` over what there is.
    pub(super) fn add_environment(
        &mut self,
        environment: &[(String, String)],
    ) -> Result<(), ConfigError> {
        self.layer += 1;
        let mut variables: Vec<_> = environment.iter().collect();
        variables.sort();
        for (variable, value) in variables {
            let Some(rest) = variable.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
            let place = format!("environment variable `{variable}`");
            let rest = rest.to_lowercase();
            match rest.split_once("__") {
                Some((section, key)) => self.set(section, key, "__", value, &place)?,
                None => self.check_underscores(&rest, &place)?,
            }
        }
        Ok(())
    }

    /// Puts `section.key=value` over what there is.
    pub(super) fn add_assignment(&mut self, assignment: &str) -> Result<(), ConfigError> {
        self.layer += 1;
        let place = format!("--set `{}`", self.shown(assignment));
        let parts = assignment
            .split_once('=')
            .and_then(|(path, value)| Some((path.trim().split_once('.')?, value.trim())));
        let Some(((section, key), value)) = parts else {
            return Err(ConfigError::Value {
                place,
                message: "expected section.key=value, as in `log.level=debug`".to_owned(),
            });
        };
        self.set(section, key, ".", value, &place)
    }

    /// Returns an assignment as it may be shown: the value of what is no setting of
    /// ours may be a secret, also where the name is wrong.
    fn shown<'a>(&self, assignment: &'a str) -> Cow<'a, str> {
        let Some((path, _)) = assignment.split_once('=') else { return assignment.into() };
        let is_ours = path.trim().split_once('.').is_some_and(|(section, key)| {
            self.defaults.get(section).is_some_and(|content| content.get(key).is_some())
        });
        match !is_ours && secret::is_secret(path) {
            true => format!("{path}={HIDDEN}").into(),
            false => assignment.into(),
        }
    }

    /// Returns what all of it means.
    pub(super) fn config(&self) -> Result<Config, ConfigError> {
        let merged = Value::Table(self.merged.clone());
        let config = Config::deserialize(merged).map_err(|error| ConfigError::Value {
            place: "configuration".to_owned(),
            message: error.message().to_owned(),
        })?;
        Ok(Config { in_force: self.in_force(), ..config })
    }

    /// Returns who said the setting with this full key.
    pub(super) fn place_of(&self, key: &str) -> String {
        let said = self.origins.get(key).map(|origin| origin.place.clone());
        said.unwrap_or_else(|| "default configuration".to_owned())
    }

    /// Returns all settings, in the order of the defaults.
    pub(super) fn in_force(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        for section in section_names() {
            let Some(Value::Table(content)) = self.merged.get(section) else { continue };
            let mut properties = Vec::new();
            for key in key_names(section) {
                match content.get(key) {
                    Some(Value::Table(table)) => {
                        for (name, value) in table {
                            let path = format!("{section}.{key}");
                            properties.push(self.setting(&path, name, value));
                        }
                    }
                    Some(value) => settings.push(self.setting(section, key, value)),
                    None => {}
                }
            }
            settings.extend(properties);
        }
        settings
    }

    fn setting(&self, section: &str, key: &str, value: &Value) -> Setting {
        // Keys of ours are no secrets, whatever they are called (`max_batch_tokens`).
        let is_secret = section.contains('.') && secret::is_secret(key);
        let value = if is_secret { format!("\"{HIDDEN}\"") } else { value.to_string() };
        Setting {
            section: section.to_owned(),
            key: key.to_owned(),
            value,
            origin: self.origins.get(&format!("{section}.{key}")).map(|it| it.place.clone()),
        }
    }

    /// Puts one value, given as text, over what there is.
    fn set(
        &mut self,
        section: &str,
        key: &str,
        separator: &str,
        text: &str,
        place: &str,
    ) -> Result<(), ConfigError> {
        self.check_section(section, place)?;
        let (key, property) = match key.split_once(separator) {
            Some((key, property)) if PROPERTIES.contains(&(section, key)) => (key, Some(property)),
            _ => (key, None),
        };
        self.check_key(section, key, place)?;
        // librdkafka's names have dots, which a variable's name cannot have.
        let property = property.map(|property| match separator {
            "__" => property.replace('_', "."),
            _ => property.to_owned(),
        });
        let default = self.defaults.get(section).and_then(|content| content.get(key));
        let value = match (default, &property) {
            (Some(Value::Table(_)), None) => {
                return Err(ConfigError::Value {
                    place: place.to_owned(),
                    message: format!(
                        "`{section}.{key}` is a table; name the property, as in `{section}{separator}{key}{separator}…`"
                    ),
                });
            }
            (Some(Value::Integer(_)), _) => {
                text.trim().parse().map(Value::Integer).map_err(|_| ConfigError::Value {
                    place: place.to_owned(),
                    message: format!("`{text}` is no whole number"),
                })?
            }
            (Some(Value::Boolean(_)), _) => {
                text.trim().parse().map(Value::Boolean).map_err(|_| ConfigError::Value {
                    place: place.to_owned(),
                    message: format!("`{text}` is neither `true` nor `false`"),
                })?
            }
            _ => Value::String(text.to_owned()),
        };
        self.put(section, key, property.as_deref(), value, place.to_owned())
    }

    /// Puts one value over what there is, if it is one that the setting can have.
    fn put(
        &mut self,
        section: &str,
        key: &str,
        property: Option<&str>,
        value: Value,
        place: String,
    ) -> Result<(), ConfigError> {
        let (path, value) = match property {
            Some(property) => {
                let inner = Table::from_iter([(property.to_owned(), value)]);
                (format!("{section}.{key}.{property}"), Value::Table(inner))
            }
            None => (format!("{section}.{key}"), value),
        };
        let content = Table::from_iter([(key.to_owned(), value)]);
        let layer = Table::from_iter([(section.to_owned(), Value::Table(content))]);
        // Alone over the defaults: what is wrong then is this value, whose place is known.
        let mut alone = self.defaults.clone();
        merge(&mut alone, layer.clone());
        if let Err(error) = Config::deserialize(Value::Table(alone)) {
            let message = format!("`{path}`: {}", error.message());
            return Err(ConfigError::Value { place, message });
        }
        if let Some(property) = property {
            self.replace_other(section, key, property, &place)?;
        }
        self.origins.insert(path, Origin { place, layer: self.layer });
        merge(&mut self.merged, layer);
        Ok(())
    }

    /// Takes out what an earlier layer says of the same property by its other name
    /// (`sasl.password` and `sasl.password.file`); one layer must not say both.
    fn replace_other(
        &mut self,
        section: &str,
        key: &str,
        property: &str,
        place: &str,
    ) -> Result<(), ConfigError> {
        let other = secret::other_name(property);
        let Some(origin) = self.origins.remove(&format!("{section}.{key}.{other}")) else {
            return Ok(());
        };
        if origin.layer == self.layer {
            let message = format!("`{property}` says again what `{other}` says; expected one");
            return Err(ConfigError::Value { place: place.to_owned(), message });
        }
        if let Some(Value::Table(section)) = self.merged.get_mut(section)
            && let Some(Value::Table(properties)) = section.get_mut(key)
        {
            properties.remove(&other);
        }
        Ok(())
    }

    fn check_section(&self, section: &str, place: &str) -> Result<(), ConfigError> {
        if self.defaults.contains_key(section) {
            return Ok(());
        }
        // A key of some section, written at the top of the file.
        let home = self.defaults.iter().find(|(_, content)| content.get(section).is_some());
        let hint = match home {
            Some((home, _)) => format!("; `{section}` belongs under `[{home}]`"),
            None => hint(section, self.defaults.keys()),
        };
        Err(ConfigError::UnknownKey { place: place.to_owned(), key: section.to_owned(), hint })
    }

    fn check_key(&self, section: &str, key: &str, place: &str) -> Result<(), ConfigError> {
        let Some(Value::Table(content)) = self.defaults.get(section) else { return Ok(()) };
        if content.contains_key(key) {
            return Ok(());
        }
        let home = self.defaults.iter().find(|(_, other)| other.get(key).is_some());
        let hint = match home {
            Some((home, _)) => format!("; `{key}` belongs under `[{home}]`"),
            None => hint(key, content.keys()),
        };
        Err(ConfigError::UnknownKey {
            place: place.to_owned(),
            key: format!("{section}.{key}"),
            hint,
        })
    }

    /// Refuses `TIDECAST_KAFKA_GROUP_PREFIX`: one underscore where two belong is easy
    /// to write and hard to find. Other variables with our prefix are not ours.
    fn check_underscores(&self, rest: &str, place: &str) -> Result<(), ConfigError> {
        for (section, content) in &self.defaults {
            let key = rest.strip_prefix(section.as_str()).and_then(|rest| rest.strip_prefix('_'));
            if let Some(key) = key.filter(|key| content.get(key).is_some()) {
                let meant = format!("{section}__{key}").to_uppercase();
                return Err(ConfigError::UnknownKey {
                    place: place.to_owned(),
                    key: rest.to_owned(),
                    hint: format!("; did you mean `{ENVIRONMENT_PREFIX}{meant}`?"),
                });
            }
        }
        Ok(())
    }
}

fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => merge(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn hint<'a>(wrong: &str, known: impl Iterator<Item = &'a String>) -> String {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let score = |name: &&&str| (strsim::jaro_winkler(wrong, name) * 1e6) as u64;
    match known.iter().max_by_key(score) {
        Some(nearest) if strsim::jaro_winkler(wrong, nearest) > 0.75 => {
            format!("; did you mean `{nearest}`?")
        }
        _ => format!("; there are {}", known.join(", ")),
    }
}

/// Section names, in the order of the defaults' text: TOML tables do not keep it.
fn section_names() -> impl Iterator<Item = &'static str> {
    DEFAULTS
        .lines()
        .filter_map(|line| line.strip_prefix('[')?.strip_suffix(']'))
        .filter(|name| !name.contains('.'))
}

/// Keys of a section, in the order of the defaults' text.
fn key_names(section: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    let mut current = "";
    for line in DEFAULTS.lines() {
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            current = header;
            match header.split_once('.') {
                Some((parent, name)) if parent == section => names.push(name),
                _ => {}
            }
        } else if let Some((key, _)) = line.split_once(" = ")
            && current == section
            && !line.starts_with('#')
        {
            names.push(key);
        }
    }
    names
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn syntax(file: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let line = error.span().map(|span| line_of(text, span.start));
    let place = match line {
        Some(line) => format!("`{file}` line {line}"),
        None => format!("`{file}`"),
    };
    ConfigError::Syntax { place, message: error.message().replace('\n', "; ") }
}
