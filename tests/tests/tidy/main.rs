//! The rules of the source tree that no compiler checks: who imports whom,
//! where `unsafe` may be, how long a file may get, what documents must name.
//!
//! Every rule is a function from files to findings of the form
//! `file:line: message`, beside a test that runs it on the workspace and one
//! that shows that it finds what it should. Exceptions are lists at the top of
//! each module, with reasons.

mod documents;
mod extensions;
mod imports;
mod layout;
mod source;
mod unsafety;

/// Fails with all findings, one a line.
fn report(findings: &[String]) {
    assert!(
        findings.is_empty(),
        "{} finding(s):\n{}\n",
        findings.len(),
        findings.join("\n")
    );
}
