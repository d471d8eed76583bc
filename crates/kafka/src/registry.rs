//! A schema registry, asked for the schemas that records name.
//!
//! What is spoken is the REST interface of Confluent's, which the others have as well:
//! Apicurio (under `/apis/ccompat/v7`), Karapace, Redpanda; and Apicurio's own, for the numbers
//! that its serializers write.

mod apicurio;
mod cache;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tidecast_formats::schemas::{
    RegisteredSchema, SchemaError, SchemaId, SchemaKind, SchemaSource,
};
use tidecast_stream::ClientProperties;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use self::cache::CachedSchemas;
pub use self::cache::SchemaCache;
use crate::config::ConfigError;

mod subjects;

pub use self::subjects::SubjectState;

/// For so long a schema that was not there is not asked for again.
const ABSENT_FOR: Duration = Duration::from_secs(30);

/// Schemas that one may refer to, itself and those behind it included.
const MOST_REFERENCES: usize = 1_000;

/// The largest answer that is read.
const MOST_BYTES: u64 = 16 << 20;

const URL: &str = "url";
const USER_INFO: &str = "basic.auth.user.info";
const TOKEN: &str = "bearer.auth.token";
const CA: &str = "ssl.ca.location";
const REGISTERS: &str = "auto.register.schemas";

/// A schema registry.
///
/// Its settings, under the names that Confluent's clients have: `url` (several separated by
/// commas are asked in turn), `basic.auth.user.info` (`user:password`),
/// `bearer.auth.token`, `ssl.ca.location` (PEM; without it the certificates of the
/// public authorities count), and `auto.register.schemas` (`false`: what is written has to be
/// registered already). Each may be in a file, `bearer.auth.token.file`.
#[derive(Debug)]
pub struct SchemaRegistry {
    urls: Vec<String>,
    agent: Agent,
    authorization: Option<tidecast_stream::Secret>,
    /// Whether schemas are registered that are not there.
    registers: bool,
    /// When schemas were asked for that were not there.
    absent: BTreeMap<SchemaId, Instant>,
    cache: CachedSchemas,
}

impl SchemaRegistry {
    /// The names of its settings.
    pub const SETTINGS: [&str; 5] = [URL, USER_INFO, TOKEN, CA, REGISTERS];

    /// Returns the registry that `settings` describe; a request may take `timeout`. What
    /// `cache` has of it is not asked for again.
    ///
    /// # Errors
    /// If there is no address, or a setting is unknown, contradicts another or names a file
    /// that is no certificate.
    pub fn new(
        settings: &ClientProperties,
        timeout: Duration,
        cache: &SchemaCache,
    ) -> Result<Self, ConfigError> {
        let cache = cache.of(settings);
        let wrong = |name: &str, reason: String| ConfigError::SchemaRegistry {
            name: name.to_owned(),
            reason,
        };
        let settings = settings.with_files_read()?;
        if let Some((name, _)) = settings.iter().find(|(name, _)| !Self::SETTINGS.contains(name)) {
            let known = Self::SETTINGS.map(|name| format!("`{name}`")).join(", ");
            return Err(wrong(name, format!("there is no such setting, expected one of {known}")));
        }
        let urls: Vec<String> = settings
            .get(URL)
            .unwrap_or_default()
            .split(',')
            .map(|url| url.trim().trim_end_matches('/').to_owned())
            .filter(|url| !url.is_empty())
            .collect();
        if urls.is_empty() {
            let reason = "it is missing, expected the registry's address: \
                          'schema.registry.url'='http://host:8081' in the table, or `url` under \
                          `[kafka.schema_registry]` in the configuration";
            return Err(wrong(URL, reason.to_owned()));
        }
        if let Some(url) = urls.iter().find(|url| {
            !["http://", "https://"].iter().any(|scheme| url.to_lowercase().starts_with(scheme))
        }) {
            let reason = format!("`{url}` is no address, expected http://… or https://…");
            return Err(wrong(URL, reason));
        }
        if urls.iter().any(|url| url.contains('@')) {
            // An address is shown in logs and errors.
            let reason = format!("it has a login in it, expected `{USER_INFO}` to have that");
            return Err(wrong(URL, reason));
        }
        let authorization = match (settings.get(USER_INFO), settings.get(TOKEN)) {
            (Some(_), Some(_)) => {
                let reason = format!("`{USER_INFO}` is set as well, expected one of them");
                return Err(wrong(TOKEN, reason));
            }
            (Some(user), None) if !user.contains(':') => {
                return Err(wrong(USER_INFO, "expected `user:password`".to_owned()));
            }
            (Some(user), None) => Some(format!("Basic {}", STANDARD.encode(user))),
            (None, Some(token)) => Some(format!("Bearer {token}")),
            (None, None) => None,
        };
        let registers = match settings.get(REGISTERS) {
            None | Some("true") => true,
            Some("false") => false,
            Some(other) => {
                let reason = format!("it is `{other}`, expected `true` or `false`");
                return Err(wrong(REGISTERS, reason));
            }
        };
        let mut config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .user_agent("tidecast");
        if let Some(path) = settings.get(CA) {
            let roots = certificates(path).map_err(|reason| wrong(CA, reason))?;
            let roots = RootCerts::new_with_certs(&roots);
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        Ok(Self {
            urls,
            agent: config.build().new_agent(),
            authorization: authorization.map(tidecast_stream::Secret::new),
            registers,
            absent: BTreeMap::new(),
            cache,
        })
    }

    /// Returns what stands at `path`, from the first address that answers; `None` if nothing
    /// does.
    fn get(&self, path: &str) -> Result<Option<Value>, SchemaError> {
        self.first(|url| {
            let Some(answer) = self.get_from(url, path)? else { return Ok(None) };
            match serde_json::from_str(&answer.body) {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(answer.of_something_else("/apis/ccompat/v7")),
            }
        })
    }

    /// Returns what the first address answers that does.
    fn first<T>(
        &self,
        ask: impl Fn(&str) -> Result<Option<T>, SchemaError>,
    ) -> Result<Option<T>, SchemaError> {
        let mut last = None;
        for url in &self.urls {
            match ask(url) {
                Err(error) if error.is_transient => last = Some(error),
                answer => return answer,
            }
        }
        Err(last.unwrap_or_else(|| SchemaError::lasting("no schema registry")))
    }

    /// Returns what stands at `path` of an address; `None` if a registry says that nothing does.
    fn get_from(&self, url: &str, path: &str) -> Result<Option<Answer>, SchemaError> {
        let place = format!("the schema registry at `{url}`");
        let mut request = self.agent.get(format!("{url}{path}")).header(
            "accept",
            "application/vnd.schemaregistry.v1+json, application/json, */*;q=0.5",
        );
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization.reveal());
        }
        let mut response = request.call().map_err(|error| {
            SchemaError::transient(format!(
                "{place} does not answer ({error}); check 'schema.registry.url' and that it runs"
            ))
        })?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(MOST_BYTES).read_to_string();
        let body = body.map_err(|error| {
            SchemaError::transient(format!("{place} broke off its answer to {path} ({error})"))
        })?;
        let answer = Answer { place, path: path.to_owned(), status, body };
        match status {
            200..=299 => Ok(Some(answer)),
            404 => {
                let said = serde_json::from_str::<Value>(&answer.body).ok();
                match said.is_some_and(|said| said.get("error_code").is_some()) {
                    true => Ok(None),
                    false => Err(answer.of_something_else("/apis/ccompat/v7 or /apis/registry/v2")),
                }
            }
            401 | 403 => Err(SchemaError::lasting(format!(
                "{} refused access (status {status}); check \
                 'schema.registry.basic.auth.user.info' or 'schema.registry.bearer.auth.token', \
                 and that this user may read schemas",
                answer.place
            ))),
            300..=499 if serde_json::from_str::<Value>(&answer.body).is_err() => {
                Err(answer.of_something_else("/apis/ccompat/v7 or /apis/registry/v2"))
            }
            status => Err(SchemaError::transient(format!(
                "{} answers {path} with status {status}: `{}`",
                answer.place,
                crate::error::readable(answer.body.as_bytes())
            ))),
        }
    }

    /// Adds the schemas that `answer` refers to, those behind them first.
    fn follow(&self, answer: &Value, found: &mut Vec<(String, String)>) -> Result<(), SchemaError> {
        let references = answer.get("references").and_then(Value::as_array);
        for reference in references.map(Vec::as_slice).unwrap_or_default() {
            let text = |name: &str| reference.get(name).and_then(Value::as_str);
            let version = reference.get("version").and_then(Value::as_i64);
            let (Some(name), Some(subject), Some(version)) =
                (text("name"), text("subject"), version)
            else {
                return Err(SchemaError::lasting("a reference without name, subject or version"));
            };
            if found.iter().any(|(known, _)| known == name) {
                continue;
            }
            if found.len() >= MOST_REFERENCES {
                let message = format!("more than {MOST_REFERENCES} references");
                return Err(SchemaError::lasting(message));
            }
            let subject: String = subject.bytes().map(escaped).collect();
            let path = format!("/subjects/{subject}/versions/{version}");
            let Some(answer) = self.get(&path)? else {
                let message = format!("a reference that the registry does not have: {path}");
                return Err(SchemaError::lasting(message));
            };
            let schema = schema_text(&answer)?;
            // Before those behind it: a circle ends at what is known.
            found.push((name.to_owned(), schema));
            self.follow(&answer, found)?;
        }
        Ok(())
    }
}

/// What an address answered.
struct Answer {
    place: String,
    path: String,
    status: u16,
    body: String,
}

impl Answer {
    /// A proxy, or the page of something else, is no word on a schema.
    fn of_something_else(&self, end: &str) -> SchemaError {
        let Self { place, path, status, body } = self;
        SchemaError::lasting(format!(
            "{place} is none: it answers {path} with status {status} and `{}`; check \
             'schema.registry.url' (of Apicurio it ends in {end})",
            crate::error::readable(body.as_bytes())
        ))
    }
}

impl SchemaSource for SchemaRegistry {
    fn schema(&mut self, id: SchemaId) -> Result<Option<RegisteredSchema>, SchemaError> {
        if let Some(known) = self.cache.get(id) {
            return Ok(Some(known));
        }
        if self.absent.get(&id).is_some_and(|since| since.elapsed() < ABSENT_FOR) {
            return Ok(None);
        }
        let found = match id {
            SchemaId::Registered(number) => self.registered(number)?,
            SchemaId::Global(number) => self.of_apicurio(&format!("globalIds/{number}"))?,
            SchemaId::Content(number) => self.of_apicurio(&format!("contentIds/{number}"))?,
        };
        match &found {
            Some(found) => self.cache.insert(id, found),
            None => {
                // Numbers made of garbage must not fill the memory.
                self.absent.retain(|_, since| since.elapsed() < ABSENT_FOR);
                if self.absent.len() < MOST_REFERENCES {
                    self.absent.insert(id, Instant::now());
                }
            }
        }
        Ok(found)
    }
}

impl SchemaRegistry {
    /// Asks for a schema as Confluent's registry is asked.
    fn registered(&self, id: u32) -> Result<Option<RegisteredSchema>, SchemaError> {
        let Some(answer) = self.get(&format!("/schemas/ids/{id}"))? else { return Ok(None) };
        let kind = match answer.get("schemaType").and_then(Value::as_str) {
            // As the registry was before it knew others.
            None | Some("AVRO") => SchemaKind::Avro,
            Some("JSON") => SchemaKind::Json,
            Some("PROTOBUF") => SchemaKind::Protobuf,
            Some(other) => {
                let other = crate::error::readable(other.as_bytes());
                let message = format!("schema {id} is in a language that is not known: `{other}`");
                return Err(SchemaError::lasting(message));
            }
        };
        let mut references = Vec::new();
        self.follow(&answer, &mut references)?;
        Ok(Some(RegisteredSchema { kind, text: schema_text(&answer)?, references }))
    }
}

fn schema_text(answer: &Value) -> Result<String, SchemaError> {
    let text = answer.get("schema").and_then(Value::as_str).map(str::to_owned);
    text.ok_or_else(|| SchemaError::lasting("the schema registry's answer has no `schema`"))
}

/// Returns a byte of a path's segment as it may stand in an address.
fn escaped(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    }
}

fn certificates(path: &str) -> Result<Vec<Certificate<'static>>, String> {
    let pem = std::fs::read(path).map_err(|error| format!("`{path}`: {error}"))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(format!("`{path}` is no PEM: {error}")),
        }
    }
    match certificates.is_empty() {
        true => Err(format!("`{path}` has no certificate, expected PEM")),
        false => Ok(certificates),
    }
}

#[cfg(test)]
mod tests;
