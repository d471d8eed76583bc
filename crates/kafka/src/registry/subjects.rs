//! The registry's other half: schemas of what is written, each under a subject.

use serde_json::{Value, json};
use tidecast_formats::schemas::{RegisteredSchema, SchemaError, SchemaKind};

use super::{MOST_BYTES, REGISTERS, SchemaRegistry, escaped};
use crate::error::{readable, readable_to};

/// The most characters of a refusal's reason that are shown: it names fields.
const REASON: usize = 400;

/// What a registry says of a schema that is to be written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectState {
    /// It is there, under this number.
    Registered(u32),
    /// It is not, and would be the subject's next.
    Next,
    /// It is not, and would be the subject's first.
    First,
}

/// An answer that says something of the subject.
enum Answer {
    Said {
        place: String,
        said: Value,
    },
    /// A refusal: the status, and what is said of it.
    Refused {
        place: String,
        status: u16,
        reason: String,
    },
}

impl SchemaRegistry {
    /// Returns the number of `schema` under `subject`. Where it is not there it is
    /// registered, unless `auto.register.schemas` says not to.
    ///
    /// It is looked for first, so that whoever may only read can write with what others
    /// have registered.
    ///
    /// # Errors
    /// If it is not there and may not be registered, is incompatible with those before it,
    /// or the registry does not answer.
    pub(crate) fn number(
        &self,
        subject: &str,
        schema: &RegisteredSchema,
    ) -> Result<u32, SchemaError> {
        if let Some(number) = self.find(subject, schema)? {
            return Ok(number);
        }
        let path = format!("/subjects/{}/versions", segment(subject));
        match self.post(&path, &body(schema), "register schemas of")? {
            Answer::Said { place, said } => number_of(&place, &said),
            Answer::Refused { place, status: 409, reason } => {
                Err(incompatible(subject, &place, &reason))
            }
            Answer::Refused { place, status, reason } => Err(SchemaError::lasting(format!(
                "{place} does not register the forecasts' schema as subject `{subject}` (status \
                 {status}: {reason}); check that it takes schemas of {} and is not read-only, or \
                 register the schema otherwise (`tidecast explain --schema` prints it)",
                schema.kind
            ))),
        }
    }

    /// Returns what [`number`](Self::number) would find, and registers nothing.
    ///
    /// # Errors
    /// If that would fail, as far as it can be told.
    pub fn state(
        &self,
        subject: &str,
        schema: &RegisteredSchema,
    ) -> Result<SubjectState, SchemaError> {
        if let Some(number) = self.find(subject, schema)? {
            return Ok(SubjectState::Registered(number));
        }
        let path =
            format!("/compatibility/subjects/{}/versions/latest?verbose=true", segment(subject));
        match self.post(&path, &body(schema), "read")? {
            // There is nothing yet to be compatible with.
            Answer::Refused { status: 404, .. } => Ok(SubjectState::First),
            Answer::Refused { place, status, reason } => Err(SchemaError::lasting(format!(
                "{place} would not take the forecasts' schema as subject `{subject}` (status \
                 {status}: {reason})"
            ))),
            Answer::Said { place, said } => match said.get("is_compatible") {
                Some(Value::Bool(false)) => Err(incompatible(subject, &place, &differences(&said))),
                _ => Ok(SubjectState::Next),
            },
        }
    }

    /// Returns the schema's number, `None` where it is not there and may be registered.
    fn find(&self, subject: &str, schema: &RegisteredSchema) -> Result<Option<u32>, SchemaError> {
        let path = format!("/subjects/{}", segment(subject));
        match self.post(&path, &body(schema), "read")? {
            Answer::Said { place, said } => number_of(&place, &said).map(Some),
            Answer::Refused { status: 404, .. } if self.registers => Ok(None),
            Answer::Refused { place, status: 404, reason } => Err(SchemaError::lasting(format!(
                "{place} does not have the forecasts' schema as subject `{subject}` ({reason}); \
                 register it (`tidecast explain --schema` prints it), or set \
                 'schema.registry.{REGISTERS}' to 'true'"
            ))),
            Answer::Refused { place, status, reason } => Err(SchemaError::lasting(format!(
                "{place} does not look for the forecasts' schema as subject `{subject}` (status \
                 {status}: {reason})"
            ))),
        }
    }

    /// Asks the addresses in turn until one answers.
    fn post(&self, path: &str, body: &Value, right: &str) -> Result<Answer, SchemaError> {
        let mut last = None;
        for url in &self.urls {
            match self.post_to(url, path, body, right) {
                Err(error) if error.is_transient => last = Some(error),
                answer => return answer,
            }
        }
        Err(last.unwrap_or_else(|| SchemaError::lasting("no schema registry")))
    }

    /// `right` is what this user has to be let for it.
    fn post_to(
        &self,
        url: &str,
        path: &str,
        body: &Value,
        right: &str,
    ) -> Result<Answer, SchemaError> {
        let place = format!("the schema registry at `{url}`");
        let mut request = self
            .agent
            .post(format!("{url}{path}"))
            .header("accept", "application/vnd.schemaregistry.v1+json, application/json")
            .header("content-type", "application/vnd.schemaregistry.v1+json");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization.reveal());
        }
        let mut response = request.send(body.to_string()).map_err(|error| {
            SchemaError::transient(format!(
                "{place} does not answer ({error}); check 'schema.registry.url' and that it runs"
            ))
        })?;
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(MOST_BYTES).read_to_string();
        let text = text.map_err(|error| {
            SchemaError::transient(format!("{place} broke off its answer to {path} ({error})"))
        })?;
        let said = serde_json::from_str::<Value>(&text).ok();
        let shown = readable(text.as_bytes());
        match (status, said) {
            (200..=299, Some(said)) => Ok(Answer::Said { place, said }),
            (401 | 403, _) => Err(SchemaError::lasting(format!(
                "{place} refused access (status {status}: {shown}); check \
                 'schema.registry.basic.auth.user.info' or 'schema.registry.bearer.auth.token', \
                 and that this user may {right} the subject of {path}"
            ))),
            // It asks to be left alone for a while.
            (408 | 425 | 429 | 500.., _) => Err(SchemaError::transient(format!(
                "{place} answers {path} with status {status}: `{shown}`"
            ))),
            (400..=499, Some(answer)) if answer.get("error_code").is_some() => {
                let message = answer.get("message").and_then(Value::as_str).unwrap_or(&text);
                let reason = readable_to(REASON, message.as_bytes());
                Ok(Answer::Refused { place, status, reason })
            }
            (status, _) => Err(SchemaError::lasting(format!(
                "{place} is none: it answers {path} with status {status} and `{shown}`; check \
                 'schema.registry.url' (of Apicurio it ends in /apis/ccompat/v7)"
            ))),
        }
    }
}

fn incompatible(subject: &str, place: &str, reason: &str) -> SchemaError {
    SchemaError::lasting(format!(
        "{place} refuses the forecasts' schema as incompatible with those of subject `{subject}` \
         ({reason}); write to another topic, or lower the subject's compatibility level until \
         its readers have gone on"
    ))
}

fn body(schema: &RegisteredSchema) -> Value {
    let kind = match schema.kind {
        // Registries from before there were others do not know the field.
        SchemaKind::Avro => return json!({"schema": schema.text}),
        SchemaKind::Protobuf => "PROTOBUF",
        SchemaKind::Json => "JSON",
    };
    json!({"schema": schema.text, "schemaType": kind})
}

/// Returns what a registry says of schemas that are not compatible.
fn differences(said: &Value) -> String {
    let messages = said.get("messages").and_then(Value::as_array).map(Vec::as_slice);
    let texts: Vec<&str> = messages.unwrap_or_default().iter().filter_map(Value::as_str).collect();
    match texts.is_empty() {
        true => "it does not say why".to_owned(),
        false => readable_to(REASON, texts.join("; ").as_bytes()),
    }
}

fn number_of(place: &str, answer: &Value) -> Result<u32, SchemaError> {
    let number = answer.get("id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
    let error = || SchemaError::lasting(format!("the answer of {place} has no `id` of a schema"));
    number.ok_or_else(error)
}

fn segment(subject: &str) -> String {
    subject.bytes().map(escaped).collect()
}

#[cfg(test)]
mod tests;
