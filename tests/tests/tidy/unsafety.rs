//! Where `unsafe` may be, and that each use says why it is sound.

use crate::source::{File, Line, find_word, text};

/// Files of the engine that may use `unsafe`; a folder ends with `/`.
const ALLOWED: &[&str] = &[
    "engine/src/reactor/",
    "engine/src/worker/shared.rs",
    // The library that BoringSSL and aws-lc share verifies chains of certificates, and
    // opens keys with a password.
    "engine/src/transport_sockets/tls/encrypted_key.rs",
    "engine/src/transport_sockets/tls/x509_store.rs",
];

/// Crates that promise the compiler to have none.
const FORBIDDING: &[&str] = &["codecs", "lb", "config"];

/// Lines with `unsafe` out of place or without a reason.
fn check(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files {
        for (number, line) in file.numbered() {
            if find_word(&line.code, "unsafe").is_none() {
                continue;
            }
            let engine = file.path.starts_with("engine/src/");
            if engine && !ALLOWED.iter().any(|allowed| file.path.starts_with(allowed)) {
                findings.push(file.finding(
                    number,
                    "unsafe is only for reactor/, worker/shared.rs, encrypted_key.rs and x509_store.rs",
                ));
            }
            if !is_explained(&file.lines, number - 1) {
                findings.push(file.finding(number, "unsafe without a `// SAFETY:` comment"));
            }
        }
    }
    findings
}

/// Whether the statement that line `at` belongs to has a `SAFETY:` comment on
/// it or above it. An `unsafe fn` has a `# Safety` section for its callers,
/// unless it is a method of a trait that has it.
fn is_explained(lines: &[Line], at: usize) -> bool {
    let explains =
        |line: &Line| line.comment.contains("SAFETY:") || line.comment.contains("# Safety");
    if explains(&lines[at]) || is_method_of_unsafe_impl(lines, at) {
        return true;
    }
    for line in lines[..at].iter().rev() {
        if explains(line) {
            return true;
        }
        let code = line.code.trim();
        let is_comment = code.is_empty() && !line.comment.is_empty();
        let goes_on = !code.is_empty() && !code.ends_with([';', '{', '}']);
        if !is_comment && !goes_on {
            return false;
        }
    }
    false
}

fn is_method_of_unsafe_impl(lines: &[Line], at: usize) -> bool {
    let indentation = |line: &Line| line.code.len() - line.code.trim_start().len();
    let around = lines[..at]
        .iter()
        .rev()
        .find(|line| !line.code.trim().is_empty() && indentation(line) < indentation(&lines[at]));
    lines[at].code.trim_start().starts_with("unsafe fn")
        && around.is_some_and(|line| line.code.trim_start().starts_with("unsafe impl"))
}

#[test]
fn unsafe_is_rare_and_explained() {
    crate::report(&check(crate::source::tree()));
}

#[test]
fn the_pure_crates_forbid_unsafe() {
    let mut findings = Vec::new();
    for name in FORBIDDING {
        let library = text(&format!("{name}/src/lib.rs"));
        if !library
            .lines()
            .any(|line| line == "#![forbid(unsafe_code)]")
        {
            findings.push(format!(
                "{name}/src/lib.rs:1: #![forbid(unsafe_code)] is missing"
            ));
        }
    }
    crate::report(&findings);
}

#[test]
fn unexplained_unsafe_is_found() {
    let check = |path: &str, text: &str| check(&[File::new(path, text)]).len();
    let plain = "let a = 1;\nlet b = unsafe { f() };";
    assert_eq!(check("engine/src/reactor/a.rs", plain), 1, "no reason");
    assert_eq!(
        check("engine/src/http/a.rs", plain),
        2,
        "no reason, and not there"
    );
    let explained = "// SAFETY: it is.\n// And more.\nlet b =\n    unsafe { f() };";
    assert_eq!(check("engine/src/reactor/a.rs", explained), 0);
    assert_eq!(check("bench/src/a.rs", explained), 0);
    let far = "// SAFETY: of another one.\nunsafe { f() };\nunsafe { g() };";
    assert_eq!(check("engine/src/reactor/a.rs", far), 1);
    assert_eq!(
        check(
            "codecs/src/a.rs",
            "// unsafe\nlet s = \"unsafe\"; forbid(unsafe_code);"
        ),
        0
    );
}
