//! Making a defined container: fetching its image where needed, its id file, its warnings.

use crate::command::container::definition::request::{Definition, Pull};
use crate::command::image::{self, Audience};
use crate::context::Context;
use crate::report::{Failure, plain};
use mica_api::types::image::PullRequest;
use mica_api::{Engine, Error, Result as EngineResult};
use mica_model::ErrorKind;
use std::fs::{self, File, OpenOptions};
use std::io::Write;

/// Asks the engine by `request` for the defined container; fetches the image first where that is
/// wanted, or on the engine's word that it is missing.
///
/// # Errors
/// The engine's last answer.
pub fn with_image<T>(
    definition: &Definition,
    context: &Context<'_>,
    request: impl Fn(&dyn Engine) -> EngineResult<T>,
) -> Result<T, Failure> {
    let engine = context.engine().map_err(into_launch)?;
    if definition.pull == Pull::Always {
        fetch(definition, context)?;
    }
    match request(engine) {
        Err(error) if definition.pull == Pull::Missing && is_image_missing(&error, definition, engine) => {
            let image = &definition.request.config.image;
            if let Err(error) = mica_model::Reference::parse_normalized(image) {
                return Err(Failure::launch(Error::new(ErrorKind::InvalidArgument, error.to_string())));
            }
            if !definition.is_pull_quiet {
                let name = with_tag(&definition.request.config.image);
                context.say_error(&format!("Unable to find image '{name}' locally\n"));
            }
            fetch(definition, context)?;
            request(engine).map_err(Failure::launch)
        }
        answer => answer.map_err(Failure::launch),
    }
}

/// An engine that cannot even be opened, or a file of variables that cannot be read, is also a
/// failure on the way to a program.
pub fn into_launch(failure: Failure) -> Failure {
    match failure {
        Failure::Engine { source } => Failure::Launch { source },
        Failure::File { .. } => Failure::RefusedLaunch { message: failure.to_string() },
        other => other,
    }
}

/// Shows what could not be had.
pub fn warn(warnings: &[String], context: &Context<'_>) {
    for warning in warnings {
        context.warn(warning);
    }
}

/// The file that takes the id; it is removed again unless an id was written.
#[derive(Debug)]
pub struct IdFile {
    path: String,
    file: File,
    is_written: bool,
}

impl IdFile {
    /// Makes the file, which must not exist: its container may still run.
    ///
    /// # Errors
    /// It exists, or it cannot be made.
    pub fn create(path: &str) -> Result<Self, Failure> {
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(file) => Ok(Self { path: path.to_owned(), file, is_written: false }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(Failure::refused_launch(format!(
                    "container ID file found, make sure the other container isn't running or delete {path}"
                )))
            }
            Err(source) => Err(Failure::refused_launch(format!(
                "failed to create the container ID file: open {path}: {}",
                plain(&source)
            ))),
        }
    }

    /// Writes the id.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(mut self, id: &str) -> Result<(), Failure> {
        let written = self.file.write_all(id.as_bytes());
        self.is_written = written.is_ok();
        written.map_err(|source| Failure::File { action: "write", path: self.path.clone(), source })
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if !self.is_written {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Results go to standard output, which belongs to the program; so the rest goes beside it.
fn fetch(definition: &Definition, context: &Context<'_>) -> Result<(), Failure> {
    let audience = if definition.is_pull_quiet { Audience::Nobody } else { Audience::Bystanders };
    let progress = image::progress(context, audience);
    let keyring = context.keyring();
    let request = PullRequest {
        reference: definition.request.config.image.clone(),
        platform: definition.request.platform.clone(),
        all_tags: false,
        access: context.registry_access(&keyring),
    };
    let pulled = context.engine()?.image_pull(&request, &|event| progress.report(&event));
    pulled.map(drop).map_err(Failure::launch)
}

/// Something else may be missing too, such as the container whose network is to be joined.
fn is_image_missing(error: &Error, definition: &Definition, engine: &dyn Engine) -> bool {
    let is_missing = |error: &Error| error.kind == ErrorKind::NotFound;
    let request = &definition.request;
    // That there is one for another platform does not help either.
    let is_here = || engine.image_inspect(&request.config.image, &request.platform);
    is_missing(error) && is_here().is_err_and(|error| is_missing(&error))
}

fn with_tag(image: &str) -> String {
    let has_tag = image.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if has_tag || image.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}
