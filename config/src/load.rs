//! The whole way from files to a checked message: the `Bootstrap`, or a
//! resource that is read while the proxy runs.

use crate::descriptors;
use crate::diagnostics::{Diagnostic, Diagnostics, Marks, Position, Severity};
pub use crate::dump::to_json;
use crate::follow_up::Wrong;
use crate::loader;
use crate::merge;
use crate::{json, rules, support, yaml};
use envoy_types::pb::envoy::config::bootstrap::v3::Bootstrap;
use prost::{Message, Name};
use prost_reflect::{DynamicMessage, MessageDescriptor};
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// A configuration without errors.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration as typed messages.
    pub bootstrap: Bootstrap,
    /// The same by reflection, for `/config_dump`.
    pub message: DynamicMessage,
    /// Where each path was written.
    pub marks: Arc<Marks>,
    /// The warnings.
    pub diagnostics: Diagnostics,
    /// The file's name as the operator gave it, or `--config-yaml`.
    pub file: Arc<str>,
    /// What it was loaded with.
    pub options: LoadOptions,
}

/// A resource without errors.
#[derive(Debug)]
pub(crate) struct Resource<M> {
    /// The resource as a typed message.
    pub message: M,
    /// Where each path was written.
    pub marks: Marks,
    /// The warnings.
    pub diagnostics: Diagnostics,
    /// The file.
    pub file: Arc<str>,
}

/// Why a resource is not taken. Envoy counts the two apart.
#[derive(Debug)]
pub enum Refused {
    /// There is no file, or its text does not make a message
    /// (`update_failure`).
    Text(Diagnostics),
    /// The message says what cannot be (`update_rejected`).
    Content(Diagnostics),
}

/// The syntax of a configuration text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.2 with Envoy's reading of plain scalars.
    Yaml,
    /// JSON.
    Json,
}

/// How strict to be.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Fields and enum values that the API does not have are warnings.
    pub allow_unknown_static_fields: bool,
    /// The command line says what `node.id` is.
    pub has_service_node: bool,
    /// The command line says what `node.cluster` is.
    pub has_service_cluster: bool,
}

/// Looks for more mistakes in what can be read of a configuration that has some.
pub type Look<'l> = &'l dyn Fn(&Loaded) -> Diagnostics;

/// Loads a text called `name`. On failure all errors of all phases are given,
/// together with the warnings.
pub fn load(
    text: &str,
    name: &str,
    format: Format,
    options: &LoadOptions,
) -> Result<Loaded, Diagnostics> {
    load_and_look(text, name, format, options, &|_| Diagnostics::new())
}

/// [`load`], where `look` finds more mistakes than the form of the text has, so
/// that all are told at once. What it finds where something was wrong before is
/// left out: it may only follow from that.
pub fn load_and_look(
    text: &str,
    name: &str,
    format: Format,
    options: &LoadOptions,
    look: Look<'_>,
) -> Result<Loaded, Diagnostics> {
    let descriptor = descriptors::bootstrap();
    Draft::from_text(&descriptor, text, name.into(), format, options)?.finish(look)
}

/// Loads an encoded `Bootstrap` called `name`. Its findings have paths but no
/// positions.
pub fn load_binary(bytes: &[u8], name: &str) -> Result<Loaded, Diagnostics> {
    let options = LoadOptions::default();
    Draft::from_binary(descriptors::bootstrap(), bytes, name.into(), &options)?
        .finish(&|_| Diagnostics::new())
}

/// Loads a resource from a file. What it says that the API does not know is
/// warned of, as in Envoy: whoever writes it may be newer than this proxy.
pub(crate) fn load_resource<M: Message + Name + Default>(
    path: &Path,
) -> Result<Resource<M>, Refused> {
    let options = LoadOptions {
        allow_unknown_static_fields: true,
        ..LoadOptions::default()
    };
    let draft = Draft::from_file(descriptors::of::<M>(), path, &options);
    let mut draft = draft.map_err(Refused::Text)?;
    if draft.found.has_errors() {
        return Err(Refused::Text(draft.found));
    }
    draft.check();
    if draft.found.has_errors() {
        return Err(Refused::Content(draft.found));
    }
    Ok(Resource {
        message: draft.decode().map_err(Refused::Content)?,
        marks: draft.marks,
        diagnostics: draft.found,
        file: draft.file,
    })
}

/// Loads what the command line names: the file of `--config-path`, with the
/// text of `--config-yaml` merged over it as protobuf merges messages: scalars
/// are replaced, lists appended, messages merged.
pub fn load_files(
    config_path: Option<&Path>,
    config_yaml: Option<&str>,
    options: &LoadOptions,
) -> Result<Loaded, Diagnostics> {
    load_files_and_look(config_path, config_yaml, options, &|_| Diagnostics::new())
}

/// [`load_files`], as [`load_and_look`].
pub fn load_files_and_look(
    config_path: Option<&Path>,
    config_yaml: Option<&str>,
    options: &LoadOptions,
    look: Look<'_>,
) -> Result<Loaded, Diagnostics> {
    let descriptor = descriptors::bootstrap();
    let base = config_path.map(|path| Draft::from_file(descriptor.clone(), path, options));
    let over = config_yaml.map(|text| {
        let file = CONFIG_YAML.into();
        Draft::from_text(&descriptor, text, file, Format::Yaml, options)
    });
    match (base, over) {
        (None, None) => Err(failure(
            None,
            "no configuration: give a file with -c or a text with --config-yaml".into(),
        )),
        (Some(only), None) | (None, Some(only)) => only?.finish(look),
        (Some(Ok(base)), Some(Ok(over))) => base.merge(over)?.finish(look),
        (Some(base), Some(over)) => {
            let mut found = Diagnostics::new();
            for draft in [base, over] {
                match draft {
                    Ok(draft) => found.extend(&draft.found),
                    Err(errors) => found.extend(&errors),
                }
            }
            Err(found)
        }
    }
}

/// Said of a file that is no JSON and does not claim to be.
const READ_AS_JSON: &str =
    "was read as JSON: only names that end in .yaml or .yml are read as YAML";

/// What messages call the text of that flag.
const CONFIG_YAML: &str = "--config-yaml";

/// Largest file that is read. Envoy's own configurations of 100,000 clusters
/// stay below a tenth of it; the limit catches a wrong path (a log, a device).
const FILE_BYTES_MAX: u64 = 256 << 20;

/// A configuration that has been read but not yet checked.
struct Draft {
    message: DynamicMessage,
    marks: Marks,
    failed: HashSet<String>,
    found: Diagnostics,
    file: Arc<str>,
    options: LoadOptions,
}

impl Draft {
    fn from_file(
        descriptor: MessageDescriptor,
        path: &Path,
        options: &LoadOptions,
    ) -> Result<Self, Diagnostics> {
        let file: Arc<str> = path.to_string_lossy().into();
        let refuse = |reason: String| failure(Some(file.clone()), reason);
        let bytes = read(path).map_err(refuse)?;
        let ending = path
            .extension()
            .map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        // Envoy decides by the name alone, and reads as JSON what it does not know.
        let format = match ending.as_deref() {
            Some("pb") => return Draft::from_binary(descriptor, &bytes, file, options),
            Some("pb_text") => {
                return Err(refuse(
                    "protobuf text format is not supported yet, use YAML or JSON".into(),
                ));
            }
            Some("yaml" | "yml") => Format::Yaml,
            _ => Format::Json,
        };
        match std::str::from_utf8(&bytes) {
            Ok(text) => {
                let draft = Draft::from_text(&descriptor, text, file.clone(), format, options);
                draft.map_err(|mut found| {
                    if format == Format::Json && ending.as_deref() != Some("json") {
                        found.extend(&refuse(READ_AS_JSON.into()));
                    }
                    found
                })
            }
            Err(error) => {
                let good = &bytes[..error.valid_up_to()];
                Err(failure_at(
                    file,
                    position_after(good),
                    "this byte is not UTF-8".into(),
                ))
            }
        }
    }

    fn from_text(
        descriptor: &MessageDescriptor,
        text: &str,
        file: Arc<str>,
        format: Format,
        options: &LoadOptions,
    ) -> Result<Self, Diagnostics> {
        let mut found = Diagnostics::new();
        let tree = match format {
            Format::Yaml => yaml::parse(text, &file, &mut found),
            Format::Json => json::parse(text, &file, &mut found),
        };
        let Some(tree) = tree else {
            return Err(found);
        };
        let loaded = loader::load(
            &tree,
            descriptor,
            &file,
            options.allow_unknown_static_fields,
            &mut found,
        );
        Ok(Draft {
            message: loaded.message,
            marks: loaded.marks,
            failed: loaded.failed,
            found,
            file,
            options: options.clone(),
        })
    }

    fn from_binary(
        descriptor: MessageDescriptor,
        bytes: &[u8],
        file: Arc<str>,
        options: &LoadOptions,
    ) -> Result<Self, Diagnostics> {
        let name = descriptor.full_name().to_owned();
        match DynamicMessage::decode(descriptor, bytes) {
            Ok(message) => Ok(Draft {
                message,
                marks: Marks::new(file.clone()),
                failed: HashSet::new(),
                found: Diagnostics::new(),
                file,
                options: options.clone(),
            }),
            Err(error) => Err(failure(
                Some(file),
                format!("not an encoded {name}: {error}"),
            )),
        }
    }

    fn merge(mut self, over: Draft) -> Result<Self, Diagnostics> {
        let places = merge::ListLengths::of(&self.message);
        let moved = |path: &str| places.moved(path);
        self.failed
            .extend(over.failed.iter().map(|path| moved(path)));
        self.marks.merge(over.marks, moved);
        self.found.extend(&over.found);
        let bytes = over.message.encode_to_vec();
        match self.message.merge(bytes.as_slice()) {
            Ok(()) => Ok(self),
            Err(error) => Err(failure(
                Some(over.file),
                format!("cannot be merged: {error}"),
            )),
        }
    }

    /// Runs the phases that look at the message.
    fn check(&mut self) {
        rules::check(&self.message, &self.marks, &self.failed, &mut self.found);
        support::check(
            support::table(),
            &self.message,
            &self.marks,
            &mut self.found,
        );
        self.found.sort();
    }

    /// The message as a typed one; fails where an error was found, too.
    fn decode<M: Message + Default>(&self) -> Result<M, Diagnostics> {
        match M::decode(self.message.encode_to_vec().as_slice()) {
            Ok(message) => Ok(message),
            Err(_) if self.found.has_errors() => Err(self.found.clone()),
            Err(error) => Err(failure(Some(self.file.clone()), error.to_string())),
        }
    }

    /// Checks the message, and has `look` find more if something is wrong.
    fn finish(mut self, look: Look<'_>) -> Result<Loaded, Diagnostics> {
        self.check();
        let bootstrap = self.decode::<Bootstrap>()?;
        let broken = self.found.has_errors();
        let mut loaded = Loaded {
            bootstrap,
            message: self.message,
            marks: Arc::new(self.marks),
            diagnostics: Diagnostics::new(),
            file: self.file,
            options: self.options,
        };
        if broken {
            // Warnings wait until the errors are mended.
            let wrong = Wrong::new(&self.found, &self.failed);
            let more: Vec<_> = match wrong.is_everything() {
                true => Vec::new(),
                false => look(&loaded).errors().cloned().collect(),
            };
            let apart = more.into_iter().filter(|one| wrong.is_apart_from(one));
            let apart: Vec<_> = apart.collect();
            for error in apart {
                self.found.push(error);
            }
            self.found.sort();
            return Err(self.found);
        }
        loaded.diagnostics = self.found;
        Ok(loaded)
    }
}

/// The bytes of a file (or pipe), or what is wrong with the path.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err("is a directory; a file is needed".into());
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("is larger than {} MiB", FILE_BYTES_MAX >> 20));
    }
    Ok(bytes)
}

/// Where the text after `good` begins.
fn position_after(good: &[u8]) -> Position {
    let part = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let good = String::from_utf8_lossy(good);
    let line = good.rsplit('\n').next().unwrap_or("");
    Position {
        line: part(good.matches('\n').count() + 1),
        column: part(line.chars().count() + 1),
    }
}

fn failure(file: Option<Arc<str>>, reason: String) -> Diagnostics {
    let mut found = Diagnostics::new();
    found.push(Diagnostic {
        severity: Severity::Error,
        file,
        position: None,
        path: String::new(),
        reason,
    });
    found
}

fn failure_at(file: Arc<str>, position: Position, reason: String) -> Diagnostics {
    let mut found = Diagnostics::new();
    found.push(Diagnostic {
        severity: Severity::Error,
        file: Some(file),
        position: Some(position),
        path: String::new(),
        reason,
    });
    found
}
