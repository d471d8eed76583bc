//! Protobuf's schemas: the text of a `.proto` file, or descriptors that `protoc` made of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor};
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

/// The name that a schema has which came without one.
const OWN: &str = "schema.proto";

/// The messages of one schema.
pub(super) struct Messages {
    file: FileDescriptor,
}

/// Files that are texts, or descriptors in Base64, which some registries hand out as they
/// got them.
struct Texts(Vec<(String, String)>);

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let found = self.0.iter().find(|(known, _)| known == name);
        let Some((_, text)) = found else { return Err(protox::Error::file_not_found(name)) };
        let Ok(bytes) = STANDARD.decode(text.trim()) else {
            return File::from_source(name, text);
        };
        let file = File::decode_file_descriptor_proto(bytes.as_slice());
        let mut descriptor = file.map_err(protox::Error::new)?.file_descriptor_proto().clone();
        descriptor.name = Some(name.to_owned());
        Ok(File::from_file_descriptor_proto(descriptor))
    }
}

impl Messages {
    /// Reads the text of a `.proto` file; `references` are those it imports, name and text.
    ///
    /// # Errors
    /// If it does not compile, with the place.
    pub(super) fn of_text(text: &str, references: &[(String, String)]) -> Result<Self, String> {
        let taken = |name: &str| references.iter().any(|(known, _)| known == name);
        let mut own = OWN.to_owned();
        while taken(&own) {
            own.insert(0, '_');
        }
        let mut resolver = ChainFileResolver::new();
        let mut texts = references.to_vec();
        texts.push((own.clone(), text.to_owned()));
        resolver.add(Texts(texts));
        resolver.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.include_imports(true);
        compiler.open_file(&own).map_err(|error| format!("it does not compile: {error:?}"))?;
        Self::of_pool(&compiler.descriptor_pool(), Some(&own))
    }

    /// Reads the text of a `.proto` file that imports nothing but Google's own, or a set of
    /// descriptors, as `protoc --include_imports --descriptor_set_out` writes it, whose last
    /// file counts.
    ///
    /// # Errors
    /// If it is neither.
    pub(super) fn of_bytes(bytes: &[u8]) -> Result<Self, String> {
        match DescriptorPool::decode(bytes) {
            Ok(pool) if pool.files().len() > 0 => Self::of_pool(&pool, None),
            outcome => match std::str::from_utf8(bytes) {
                Ok(text) => Self::of_text(text, &[]),
                Err(_) => {
                    let error =
                        outcome.err().map_or_else(String::new, |error| format!(" ({error})"));
                    Err(format!(
                        "it is neither the text of a .proto file nor a set of descriptors{error}; \
                         expected what `protoc --include_imports --descriptor_set_out` writes"
                    ))
                }
            },
        }
    }

    fn of_pool(pool: &DescriptorPool, name: Option<&str>) -> Result<Self, String> {
        let file = match name {
            Some(name) => pool.get_file_by_name(name),
            // Imports stand in front.
            None => pool.files().last(),
        };
        Ok(Self { file: file.ok_or_else(|| "it has no file".to_owned())? })
    }

    /// Returns the message at these places, from outside to inside.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn at(&self, indexes: &[usize]) -> Result<MessageDescriptor, String> {
        let mut found: Option<MessageDescriptor> = None;
        for index in indexes {
            let next = match &found {
                None => self.file.messages().nth(*index),
                Some(outer) => outer.child_messages().nth(*index),
            };
            found = Some(next.ok_or_else(|| {
                format!("message indexes {indexes:?} name no message of the schema")
            })?);
        }
        found.ok_or_else(|| "no message index".to_owned())
    }

    /// Returns the message of this name, with or without its package; without a name the
    /// only one.
    ///
    /// # Errors
    /// If there is none, or it is not told which.
    pub(super) fn named(&self, name: Option<&str>) -> Result<MessageDescriptor, String> {
        let pool = self.file.parent_pool();
        let names = || -> Vec<String> {
            self.file.messages().map(|message| format!("`{}`", message.full_name())).collect()
        };
        match name {
            Some(name) => {
                let full = pool.get_message_by_name(name);
                let short = || self.file.messages().find(|message| message.name() == name);
                full.or_else(short).ok_or_else(|| {
                    format!("it has no message `{name}`, expected one of {}", names().join(", "))
                })
            }
            None => {
                let mut messages = self.file.messages();
                match (messages.next(), messages.next()) {
                    (Some(only), None) => Ok(only),
                    (None, _) => Err("it has no message".to_owned()),
                    (Some(_), Some(_)) => Err(format!(
                        "it has several messages, expected 'protobuf.message' to name one of {}",
                        names().join(", ")
                    )),
                }
            }
        }
    }
}
