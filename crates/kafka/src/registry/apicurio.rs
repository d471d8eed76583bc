//! Apicurio's own interface, which knows schemas by the numbers that its serializers write.
//!
//! It gives the text itself and does not say its language, which follows from the text: JSON is
//! Avro, for a schema of JSON Schema is none that records name here, and all else Protobuf.

use serde_json::Value;
use tidecast_formats::schemas::{RegisteredSchema, SchemaError, SchemaKind};

use super::{MOST_REFERENCES, SchemaRegistry, escaped};

/// What the address of Confluent's interface has in it, and the way to Apicurio's own beside it.
const COMPATIBLE: &str = "/apis/ccompat/";
const OWN: &str = "/apis/registry/v2";

impl SchemaRegistry {
    /// Asks for the schema of an id, `globalIds/…` or `contentIds/…`.
    pub(super) fn of_apicurio(&self, id: &str) -> Result<Option<RegisteredSchema>, SchemaError> {
        self.first(|url| {
            let base = match url.split_once(COMPATIBLE) {
                Some((server, _)) => format!("{server}{OWN}"),
                None => url.to_owned(),
            };
            let Some(answer) = self.get_from(&base, &format!("/ids/{id}"))? else {
                return Ok(None);
            };
            let kind = match serde_json::from_str::<Value>(&answer.body) {
                Ok(_) => SchemaKind::Avro,
                Err(_) => SchemaKind::Protobuf,
            };
            let mut references = Vec::new();
            let path = format!("/ids/{id}/references");
            self.follow_own(&base, &path, &mut references)?;
            Ok(Some(RegisteredSchema { kind, text: answer.body, references }))
        })
    }

    /// Adds the schemas that are listed at `path`, and those that they refer to.
    fn follow_own(
        &self,
        base: &str,
        path: &str,
        found: &mut Vec<(String, String)>,
    ) -> Result<(), SchemaError> {
        let Some(answer) = self.get_from(base, path)? else { return Ok(()) };
        let listed = serde_json::from_str::<Vec<Value>>(&answer.body);
        let listed = listed.map_err(|_| answer.of_something_else(OWN))?;
        for reference in listed {
            let text = |name: &str| reference.get(name).and_then(Value::as_str);
            let (Some(name), Some(artifact), Some(version)) =
                (text("name"), text("artifactId"), text("version"))
            else {
                let message = "a reference without name, artifact or version";
                return Err(SchemaError::lasting(message));
            };
            if found.iter().any(|(known, _)| known == name) {
                continue;
            }
            if found.len() >= MOST_REFERENCES {
                let message = format!("more than {MOST_REFERENCES} references");
                return Err(SchemaError::lasting(message));
            }
            let segment = |text: &str| text.bytes().map(escaped).collect::<String>();
            let group = segment(text("groupId").unwrap_or("default"));
            let (artifact, version) = (segment(artifact), segment(version));
            let path = format!("/groups/{group}/artifacts/{artifact}/versions/{version}");
            // Since version 3 what stands there is about the text.
            let content = match base.ends_with("/v2") {
                true => path.clone(),
                false => format!("{path}/content"),
            };
            let Some(answer) = self.get_from(base, &content)? else {
                let message = format!("a reference that the registry does not have: {path}");
                return Err(SchemaError::lasting(message));
            };
            // Before those behind it: a circle ends at what is known.
            found.push((name.to_owned(), answer.body));
            self.follow_own(base, &format!("{path}/references"), found)?;
        }
        Ok(())
    }
}
