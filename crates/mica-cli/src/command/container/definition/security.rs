//! `--security-opt`, as docker's client prepares it: files are read here, not by the engine.

use crate::report::Failure;
use std::fs;

/// What the options ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// What the engine is told.
    pub options: Vec<String>,
    /// Whether the paths that docker hides or protects are left as they are.
    pub has_open_system_paths: bool,
}

/// Reads the options; a profile's file becomes its text.
///
/// # Errors
/// An option without a value, a file that cannot be read or is no JSON.
pub fn from(typed: &[String]) -> Result<Security, Failure> {
    let mut security = Security::default();
    for option in typed {
        if option == "systempaths=unconfined" {
            security.has_open_system_paths = true;
            continue;
        }
        security.options.push(prepared(option)?);
    }
    Ok(security)
}

fn prepared(option: &str) -> Result<String, Failure> {
    if option == "no-new-privileges" {
        return Ok(option.to_owned());
    }
    // The colon is docker's old form.
    let Some((key, value)) = option.split_once('=').or_else(|| option.split_once(':')) else {
        return Err(Failure::refused_launch(format!("invalid --security-opt: {option:?}")));
    };
    if key != "seccomp" || matches!(value, "unconfined" | "builtin") {
        return Ok(option.to_owned());
    }
    let text = fs::read_to_string(value).map_err(|error| {
        Failure::refused_launch(format!("opening seccomp profile ({value}) failed: {error}"))
    })?;
    let document: serde_json::Value = serde_json::from_str(&text).map_err(|error| {
        Failure::refused_launch(format!("compacting json for seccomp profile ({value}) failed: {error}"))
    })?;
    Ok(format!("seccomp={document}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(typed: &[&str]) -> Result<Security, String> {
        let typed: Vec<String> = typed.iter().map(|&option| option.to_owned()).collect();
        from(&typed).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn files_become_their_text() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("profile.json");
        fs::write(&path, "{\n  \"defaultAction\": \"SCMP_ACT_ALLOW\"\n}").unwrap();
        let security = read(&[&format!("seccomp={}", path.display()), "no-new-privileges"]).unwrap();
        assert_eq!(security.options, [r#"seccomp={"defaultAction":"SCMP_ACT_ALLOW"}"#, "no-new-privileges"]);
        fs::write(&path, "{").unwrap();
        let error = read(&[&format!("seccomp={}", path.display())]).unwrap_err();
        assert!(error.contains("compacting json for seccomp profile"), "{error}");
        assert!(read(&["seccomp=/no/such/file"]).unwrap_err().contains("opening seccomp profile"));
    }

    #[test]
    fn words_stay_words() {
        let security = read(&["seccomp=unconfined", "systempaths=unconfined", "label:disable"]).unwrap();
        assert_eq!(security.options, ["seccomp=unconfined", "label:disable"]);
        assert!(security.has_open_system_paths);
        assert!(read(&["nothing"]).unwrap_err().contains("invalid --security-opt"));
    }
}
