//! `--mode validate`: everything that can be checked without serving.

use crate::cli::Options;
use ringway_config::{Diagnostics, Look, load_files_and_look};
use std::io::{self, Write};

/// Checks the configuration that `options` name and prints the verdict as
/// Envoy does: one line on `out` when it is good, the errors on `err` when it
/// is not. Returns the exit status.
///
/// `compile` finds what is wrong with a configuration whose form is right, as
/// far as its form is.
pub fn validate(
    options: &Options,
    compile: Look<'_>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<u8> {
    let mut found = check(options, compile);
    found.sort();
    let file = match &options.config_path {
        Some(path) => path.to_string_lossy(),
        None => "".into(),
    };
    for warning in found.warnings() {
        writeln!(err, "warning: {warning}")?;
    }
    if found.has_errors() {
        writeln!(err, "error initializing configuration '{file}':")?;
        for error in found.errors() {
            writeln!(err, "{error}")?;
        }
        return Ok(1);
    }
    writeln!(out, "configuration '{file}' OK")?;
    Ok(0)
}

fn check(options: &Options, compile: Look<'_>) -> Diagnostics {
    let loaded = load_files_and_look(
        options.config_path.as_deref(),
        options.config_yaml.as_deref(),
        &super::load_options(options),
        compile,
    );
    let mut loaded = match loaded {
        Ok(loaded) => loaded,
        Err(found) => return found,
    };
    let mut found = std::mem::take(&mut loaded.diagnostics);
    found.extend(&compile(&loaded));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_config::Loaded;

    fn run(arguments: &[&str]) -> (u8, String, String) {
        let words = ["ringway"].iter().chain(arguments);
        let options = Options::try_parse_from(words).expect("valid arguments");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let nothing = |_: &Loaded| Diagnostics::new();
        let status = validate(&options, &nothing, &mut out, &mut err);
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (status.expect("memory can be written"), text(out), text(err))
    }

    #[test]
    fn a_good_file_gets_envoys_line() {
        let file = tempfile::Builder::new().suffix(".yaml").tempfile();
        let file = file.expect("a temporary file");
        std::fs::write(file.path(), "node: {id: a}").expect("it can be written");
        let name = file.path().to_str().expect("UTF-8");
        let expected = format!("configuration '{name}' OK\n");
        assert_eq!(run(&["-c", name]), (0, expected, String::new()));
    }

    #[test]
    fn a_bad_one_gets_its_errors() {
        let (status, out, err) = run(&["--config-yaml", "nod: {}\nadmin: 1"]);
        assert_eq!((status, out.as_str()), (1, ""));
        assert_eq!(
            err,
            "error initializing configuration '':\n\
             --config-yaml:1:1: nod: envoy.config.bootstrap.v3.Bootstrap has no such field, did you mean \"node\"?\n\
             --config-yaml:2:8: admin: expected an object (envoy.config.bootstrap.v3.Admin), got the number 1\n"
        );
        let (status, _, err) = run(&["-c", "/nowhere/e.yaml"]);
        assert_eq!(status, 1);
        assert!(
            err.contains("/nowhere/e.yaml: cannot be read: No such file"),
            "{err}"
        );
        let (status, _, err) = run(&[]);
        assert_eq!(status, 1);
        assert!(err.contains("no configuration"), "{err}");
    }
}
