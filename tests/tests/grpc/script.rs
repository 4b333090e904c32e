//! A script beside the proxy, with which lines are exchanged.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use ringway_tests::process::{Program, end_with_parent};
use ringway_tests::programs;

/// A Python that has the gRPC library, and the one for descriptors.
pub fn python(test: &str) -> Option<PathBuf> {
    programs::python_with(test, "grpc, google.protobuf")
}

/// A running script of this folder.
pub struct Script {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Script {
    pub fn start(python: &PathBuf, name: &str, argument: &OsStr) -> Self {
        let file = programs::workspace().join("tests/tests/grpc").join(name);
        let mut command = Command::new(python);
        command
            .arg(file)
            .arg(argument)
            // Its own diagnostics are not what it has to say.
            .env("GRPC_VERBOSITY", "NONE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        end_with_parent(&mut command);
        let mut child = command.spawn().expect("python runs");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, lines }
    }

    /// The ports that its first line has.
    pub fn ports(&mut self) -> Vec<u16> {
        let line = self.lines.next().expect("a line").expect("text");
        line.split(' ')
            .map(|port| port.parse().expect("a port"))
            .collect()
    }

    pub fn tell(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("a pipe");
        writeln!(input, "{line}").expect("the script reads it");
    }

    /// All lines up to `end`, which must come.
    pub fn rest(mut self) -> Vec<String> {
        let mut all = Vec::new();
        for line in self.lines.by_ref().map_while(Result::ok) {
            if line == "end" {
                assert!(self.child.wait().expect("it was started").success());
                return all;
            }
            all.push(line);
        }
        panic!("the script broke off behind {all:#?}");
    }
}

/// The lines that `play` sees of Envoy, once it has seen the same of Ringway
/// with each driver; `None` where there is no Envoy.
pub fn as_in_envoy(test: &str, play: impl Fn(&Program) -> Vec<String>) -> Option<Vec<String>> {
    let theirs = play(&Program::Envoy(programs::envoy(test)?));
    for program in programs::drivers().into_iter().map(Program::Ringway) {
        let ours = play(&program);
        let differences: Vec<_> = theirs
            .iter()
            .zip(&ours)
            .filter(|(theirs, ours)| theirs != ours)
            .map(|(theirs, ours)| format!("envoy {theirs}\nours  {ours}"))
            .collect();
        let all = differences.join("\n");
        assert!(all.is_empty(), "{test} on {}:\n{all}", program.name());
        assert_eq!(ours.len(), theirs.len(), "{test}: {ours:#?}");
    }
    Some(theirs)
}
