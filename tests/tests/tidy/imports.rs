//! Who may import whom: the layers of the engine, and the libraries that only
//! some folders may know.

use crate::source::{File, find_word};

/// The modules of the engine, lowest first. A module may import those of lower
/// layers only; modules of one layer do not import each other.
const LAYERS: &[&[&str]] = &[
    &["reactor", "stats", "stream_info"],
    &["network", "formatter", "data_source"],
    &["transport_sockets"],
    &["access_loggers", "http"],
    &["upstream"],
    &["filters"],
    &["registry"],
    &["listener"],
    &["worker"],
    &["explain"],
    &["control", "admin"],
    &["cli"],
    &["server"],
];

/// Imports against the direction, each with its reason: who, what, why.
const AGAINST_THE_DIRECTION: &[(&str, &str, &str)] = &[
    (
        "stats",
        "worker::shared",
        "the cells are atomics that cross cores, and all of those are in one file",
    ),
    (
        "upstream",
        "worker::shared",
        "the budgets that workers lease from, for the same reason",
    ),
    (
        "filters",
        "worker::shared",
        "the count of active faults holds for the whole process, for the same reason",
    ),
    (
        "transport_sockets",
        "worker::shared",
        "the context that the control plane replaces and admin shows, for the same reason",
    ),
    (
        "listener",
        "worker::shared",
        "the limit of its connections holds for all workers together, for the same reason",
    ),
];

/// Words of the program that only some files may use: the words, where they
/// are at home, why. A folder ends with `/`.
const RESTRICTED: &[(&[&str], &[&str], &str)] = &[
    (
        &["tokio", "hyper", "hyper_util", "http_body_util"],
        // h2 wants tokio's traits.
        &[
            "control/",
            "admin/",
            "server/",
            "http/http2/",
            // What the control plane connects with; the only place that knows
            // rustls and tokio.
            "transport_sockets/tls/connector.rs",
        ],
        "the data path runs on the reactor, not on tokio",
    ),
    (
        &["h2"],
        &[
            "control/",
            "http/http2/",
            "filters/network/http_connection_manager/http2_clock.rs",
            "filters/network/http_connection_manager/http2_connection.rs",
            "filters/network/http_connection_manager/http2_stream.rs",
            "filters/http/router/http2_codec.rs",
            "upstream/conn_pool/http2.rs",
        ],
        "who carries messages need not know of HTTP/2",
    ),
    (
        &["io_uring", "IoUring"],
        // The server has a gauge that says which one it is.
        &["reactor/", "server/"],
        "nothing above the reactor knows which driver it has",
    ),
    (
        &["rustls", "tokio_rustls", "aws_lc_sys"],
        &["transport_sockets/tls/"],
        "TLS is one folder's business",
    ),
    (
        &["anyhow"],
        &["main.rs", "server/"],
        "errors are values; only the start and the end of the process may box them",
    ),
    (
        &[
            "AtomicBool",
            "AtomicU8",
            "AtomicU16",
            "AtomicU32",
            "AtomicU64",
            "AtomicUsize",
        ],
        &[
            "worker/shared.rs",
            "worker/shared/",
            // Shared with the kernel, not with a core: the tail of the buffer ring.
            "reactor/buffer.rs",
            // Between the control plane, the admin thread and the log writer;
            // no worker reads or writes these while it handles a request.
            "access_loggers/writer.rs",
            "admin/",
            "server/",
        ],
        "what crosses cores is in worker/shared.rs, where each ordering has its reason",
    ),
    (
        &["Mutex", "RwLock", "Condvar"],
        &[
            "access_loggers/",
            "admin/",
            "cli/",
            "server/",
            "stats/",
            // `Latest`, which the control plane sets and admin reads, and
            // `Mailbox`, which is used instead of opening a connection.
            "worker/shared.rs",
            "worker/shared/",
        ],
        "no locks on the data path",
    ),
    (
        &["Instant::now", "SystemTime::now"],
        &[
            "reactor/clock.rs",
            // %EMIT_TIME%: when the line is written. The admin server's lines
            // are written on a thread without a reactor.
            "formatter/value.rs",
            // A fuzz target runs without a reactor.
            "formatter/fuzz.rs",
            "access_loggers/",
            "admin/",
            "control/",
            "server/",
        ],
        "time is read once a turn, by the reactor",
    ),
];

/// What the leaves of the workspace, which are pure, must not use.
const IMPURE: &[&str] = &[
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "ToSocketAddrs",
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "Instant",
    "SystemTime",
];

const ENGINE: &str = "engine/src/";

/// Imports inside the engine against the direction of its layers.
fn directions(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for (file, inside) in engine(files) {
        let module = module_of(inside);
        let for_tests = !file.lines.is_empty() && file.lines.iter().all(|line| line.is_test);
        if matches!(module, "lib" | "main") || for_tests {
            continue;
        }
        let Some(layer) = layer_of(module) else {
            findings.push(file.finding(1, format!("module {module} is in no layer of LAYERS")));
            continue;
        };
        for (line, path) in imports(file, inside) {
            let target = path.split("::").next().unwrap_or_default();
            // Macros and items of the crate's root have no layer.
            let Some(below) = layer_of(target) else {
                continue;
            };
            if target == module || below < layer || is_excepted(module, &path) {
                continue;
            }
            findings.push(file.finding(line, format!("{module} must not import {path}")));
        }
    }
    findings
}

/// Uses of a library or type outside of the folders that may know it.
fn restricted(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for (file, inside) in engine(files) {
        for (words, homes, why) in RESTRICTED {
            if homes.iter().any(|home| inside.starts_with(home)) {
                continue;
            }
            for (number, line) in file.program() {
                for word in words
                    .iter()
                    .filter(|word| find_word(&line.code, word).is_some())
                {
                    findings.push(file.finding(number, format!("{word}: {why}")));
                }
            }
        }
    }
    findings
}

/// Input, output, clocks and threads in crates that have none.
fn impure(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    let leaves = files
        .iter()
        .filter(|file| file.path.starts_with("codecs/src/") || file.path.starts_with("lb/src/"));
    for file in leaves {
        for (number, line) in file.program() {
            for word in IMPURE
                .iter()
                .filter(|word| find_word(&line.code, word).is_some())
            {
                findings.push(file.finding(number, format!("{word} in a crate that is pure")));
            }
        }
    }
    findings
}

fn engine(files: &[File]) -> impl Iterator<Item = (&File, &str)> {
    files
        .iter()
        .filter_map(|file| Some((file, file.path.strip_prefix(ENGINE)?)))
}

/// The module of the engine that a file belongs to.
fn module_of(inside: &str) -> &str {
    inside.split(['/', '.']).next().unwrap_or_default()
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn is_excepted(module: &str, path: &str) -> bool {
    AGAINST_THE_DIRECTION.iter().any(|(who, what, _)| {
        *who == module
            && path
                .strip_prefix(what)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}

/// The paths from the crate's root that a file names outside of its tests,
/// with their lines, as far as they leave its own module.
fn imports(file: &File, inside: &str) -> Vec<(usize, String)> {
    let mut code = String::new();
    let mut line_of = Vec::new();
    for (number, line) in file.program() {
        code.push_str(&line.code);
        code.push('\n');
        line_of.resize(code.len(), number);
    }
    let mut found = Vec::new();
    for start in word_starts(&code, "crate") {
        for path in paths_after(&code[start + "crate".len()..]) {
            found.push((line_of[start], path));
        }
    }
    let parts = inside
        .trim_end_matches(".rs")
        .split('/')
        .filter(|part| *part != "mod")
        .count();
    for start in word_starts(&code, "super") {
        // Only the first of a chain, and only a chain that reaches the root.
        if code[..start].ends_with("super::") {
            continue;
        }
        let mut rest = &code[start + "super".len()..];
        let mut ups = 1;
        while let Some(further) = rest.strip_prefix("::super") {
            ups += 1;
            rest = further;
        }
        if ups >= parts {
            for path in paths_after(rest) {
                found.push((line_of[start], path));
            }
        }
    }
    found
}

fn word_starts(code: &str, word: &str) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut from = 0;
    while let Some(at) = find_word(&code[from..], word) {
        starts.push(from + at);
        from += at + word.len();
    }
    starts
}

/// The paths of a use tree such as `::a::{b, c::{d, e}}`; none when the text
/// goes on with something else.
fn paths_after(text: &str) -> Vec<String> {
    let mut paths = Vec::new();
    if let Some(rest) = text.strip_prefix("::") {
        tree(rest, "", &mut paths);
    }
    paths
}

/// Reads one use tree and returns what follows it.
fn tree<'a>(text: &'a str, prefix: &str, paths: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = tree(rest, prefix, paths).trim_start();
            if let Some(after) = rest.strip_prefix(',') {
                rest = after.trim_start();
            }
            match rest.strip_prefix('}') {
                Some(after) => return after,
                None if rest.is_empty() => return rest,
                None => {}
            }
        }
    }
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    let name = &text[..end];
    if name.is_empty() {
        // A glob, or nothing that belongs to a path.
        paths.push(prefix.to_owned());
        return text.get(1..).unwrap_or_default();
    }
    let path = if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}::{name}")
    };
    match text[end..].strip_prefix("::") {
        Some(rest) => tree(rest, &path, paths),
        None => {
            paths.push(path);
            let rest = &text[end..];
            match rest.trim_start().strip_prefix("as ") {
                Some(renamed) => renamed
                    .trim_start()
                    .trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'),
                None => rest,
            }
        }
    }
}

#[test]
fn imports_of_the_engine_point_one_way() {
    crate::report(&directions(crate::source::tree()));
}

#[test]
fn libraries_stay_where_they_belong() {
    crate::report(&restricted(crate::source::tree()));
}

#[test]
fn codecs_and_lb_are_pure() {
    crate::report(&impure(crate::source::tree()));
}

#[test]
fn every_exception_is_needed() {
    let mut findings = Vec::new();
    for (who, what, why) in AGAINST_THE_DIRECTION {
        let used = engine(crate::source::tree())
            .filter(|(_, inside)| module_of(inside) == *who)
            .any(|(file, inside)| {
                imports(file, inside)
                    .iter()
                    .any(|(_, path)| path.starts_with(what))
            });
        if !used {
            findings.push(format!("nothing in {who} imports {what} any more ({why})"));
        }
    }
    crate::report(&findings);
}

#[test]
fn an_import_against_the_direction_is_found() {
    let check = |path: &str, text: &str| directions(&[File::new(path, text)]);
    assert_eq!(
        check(
            "engine/src/http/a.rs",
            "//! Doc.\nuse crate::{\n    stats::X,\n    upstream::{b, c},\n};"
        ),
        [
            "engine/src/http/a.rs:2: http must not import upstream::b",
            "engine/src/http/a.rs:2: http must not import upstream::c"
        ]
    );
    assert_eq!(
        check(
            "engine/src/reactor/io.rs",
            "fn f() { crate::network::g(); }"
        ),
        ["engine/src/reactor/io.rs:1: reactor must not import network::g"]
    );
    assert_eq!(
        check(
            "engine/src/upstream/host.rs",
            "use super::super::filters::X as Y;\nuse super::Z;"
        ),
        ["engine/src/upstream/host.rs:1: upstream must not import filters::X"]
    );
    assert_eq!(
        check(
            "engine/src/stats/store.rs",
            "use crate::worker::shared::StatCells;\nuse crate::worker::Plan;"
        ),
        ["engine/src/stats/store.rs:2: stats must not import worker::Plan"]
    );
    assert_eq!(
        check("engine/src/fresh/mod.rs", "").len(),
        1,
        "a module without a layer"
    );
    let fine = [
        (
            "engine/src/filters/mod.rs",
            "use crate::http::x;\nuse super::reactor::y;",
        ),
        (
            "engine/src/filters/http/router/mod.rs",
            "use super::super::network::x;",
        ),
        (
            "engine/src/http/a.rs",
            "// crate::upstream\n#[cfg(test)]\nuse crate::upstream::x;",
        ),
        (
            "engine/src/stats/structs.rs",
            "macro_rules! m { () => { $crate::stats::X } }",
        ),
    ];
    for (path, text) in fine {
        assert_eq!(check(path, text), [""; 0], "{path}");
    }
}

#[test]
fn a_library_out_of_place_is_found() {
    let files = [
        File::new(
            "engine/src/http/a.rs",
            "use tokio::time;\nlet t = Instant::now();\nlet s = \"tokio\";",
        ),
        File::new("engine/src/control/a.rs", "use tokio::time;"),
        File::new(
            "engine/src/worker/mod.rs",
            "/// Not io_uring.\nmatch kind { DriverKind::IoUring => 1 }",
        ),
        File::new("bench/src/a.rs", "use tokio::time;"),
    ];
    assert_eq!(
        restricted(&files),
        [
            "engine/src/http/a.rs:1: tokio: the data path runs on the reactor, not on tokio",
            "engine/src/http/a.rs:2: Instant::now: time is read once a turn, by the reactor",
            "engine/src/worker/mod.rs:2: IoUring: nothing above the reactor knows which driver it has",
        ]
    );
    let codec = File::new("codecs/src/a.rs", "use std::net::{IpAddr, TcpStream};");
    assert_eq!(impure(&[codec]).len(), 1);
}
