//! Reading the source tree: files, with code, comments and tests told apart.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust file of the workspace, read once.
pub fn tree() -> &'static [File] {
    static TREE: LazyLock<Vec<File>> = LazyLock::new(|| {
        let mut files: Vec<_> = paths("rs").into_iter().map(|path| read(&path)).collect();
        mark_test_modules(&mut files);
        files
    });
    &TREE
}

/// The paths of all files of the workspace with this ending, from its root.
pub fn paths(ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    walk(&root(), "", &mut |path| {
        if path.rsplit_once('.').is_some_and(|(_, end)| end == ending) {
            found.push(path.to_owned());
        }
    });
    found.sort();
    assert!(
        !found.is_empty(),
        "no *.{ending} below {}",
        root().display()
    );
    found
}

/// The text of a file of the workspace.
pub fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn read(path: &str) -> File {
    File::new(path, &text(path))
}

/// Folders without sources of ours: build output, peers, and what hides.
fn is_foreign(name: &str) -> bool {
    name == "target" || (name.starts_with('.') && name != ".ci")
}

fn walk(folder: &Path, prefix: &str, visit: &mut impl FnMut(&str)) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{prefix}: {error}"));
    for entry in entries {
        let entry = entry.expect("an entry of a readable folder");
        let name = entry.file_name().into_string().expect("names are UTF-8");
        let path = format!("{prefix}{name}");
        if entry.path().is_dir() {
            // Configurations of other projects, kept as they are.
            if !is_foreign(&name) && path != "tests/data" {
                walk(&entry.path(), &format!("{path}/"), visit);
            }
        } else {
            visit(&path);
        }
    }
}

/// A Rust file.
pub struct File {
    /// From the root of the workspace, with `/`.
    pub path: String,
    /// Line by line.
    pub lines: Vec<Line>,
}

/// A line of a Rust file.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Line {
    /// The line as it is.
    pub text: String,
    /// The line without comments and without the content of literals, so that
    /// a word in it is a word of the program.
    pub code: String,
    /// The comments of the line.
    pub comment: String,
    /// Whether it is compiled for tests only.
    pub is_test: bool,
}

impl File {
    /// Takes the text of a file apart.
    pub fn new(path: &str, text: &str) -> Self {
        let mut lines = split(text);
        let whole = path
            .split('/')
            .any(|part| part == "tests" || part == "benches")
            || path.ends_with("/tests.rs")
            || path.starts_with("codecs/fuzz/");
        if whole {
            lines.iter_mut().for_each(|line| line.is_test = true);
        } else {
            mark_test_items(&mut lines);
        }
        Self {
            path: path.to_owned(),
            lines,
        }
    }

    /// Lines of the program with their numbers, tests left out.
    pub fn program(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.numbered().filter(|(_, line)| !line.is_test)
    }

    /// All lines with their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (usize, &Line)> {
        (1..).zip(&self.lines)
    }

    /// The name without folders and ending.
    pub fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.strip_suffix(".rs").unwrap_or(name)
    }

    /// `file:line: message`.
    pub fn finding(&self, line: usize, message: impl std::fmt::Display) -> String {
        format!("{}:{line}: {message}", self.path)
    }
}

/// Where `word` stands in `code` as a word of its own.
pub fn find_word(code: &str, word: &str) -> Option<usize> {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .find(|(at, _)| {
            let before = code[..*at].chars().next_back();
            let after = code[at + word.len()..].chars().next();
            !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
        })
        .map(|(at, _)| at)
}

/// Tells code, comments and literals apart, as Rust's lexer does.
fn split(text: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = text
        .lines()
        .map(|line| Line {
            text: line.to_owned(),
            ..Line::default()
        })
        .collect();
    let chars: Vec<char> = text.chars().collect();
    let mut number = 0;
    let mut at = 0;
    let mut put = |at: &mut usize, comment: bool, shown: bool| {
        let c = chars[*at];
        *at += 1;
        if c == '\n' {
            number += 1;
        } else if let Some(line) = lines.get_mut(number) {
            if comment {
                line.comment.push(c);
            }
            line.code.push(if !comment && shown { c } else { ' ' });
        }
    };
    let starts = |at: usize, what: &str| {
        what.chars()
            .enumerate()
            .all(|(i, c)| chars.get(at + i) == Some(&c))
    };
    while at < chars.len() {
        if starts(at, "//") {
            while at < chars.len() && chars[at] != '\n' {
                put(&mut at, true, false);
            }
        } else if starts(at, "/*") {
            let mut depth = 0;
            while at < chars.len() {
                let opens = starts(at, "/*");
                if opens || starts(at, "*/") {
                    depth += if opens { 1 } else { -1 };
                    put(&mut at, true, false);
                }
                put(&mut at, true, false);
                if depth == 0 {
                    break;
                }
            }
        } else if let Some(hashes) = raw_string(&chars, at) {
            while chars[at] != '"' {
                put(&mut at, false, true);
            }
            put(&mut at, false, true);
            let end: String = std::iter::once('"')
                .chain((0..hashes).map(|_| '#'))
                .collect();
            while at < chars.len() && !starts(at, &end) {
                put(&mut at, false, false);
            }
            for _ in 0..end.len().min(chars.len() - at) {
                put(&mut at, false, true);
            }
        } else if chars[at] == '"' || is_char_literal(&chars, at) {
            let quote = chars[at];
            put(&mut at, false, true);
            while at < chars.len() && chars[at] != quote {
                if chars[at] == '\\' {
                    put(&mut at, false, false);
                }
                if at < chars.len() {
                    put(&mut at, false, false);
                }
            }
            if at < chars.len() {
                put(&mut at, false, true);
            }
        } else {
            put(&mut at, false, true);
        }
    }
    lines
}

/// The number of `#` of a raw string that begins here.
fn raw_string(chars: &[char], at: usize) -> Option<usize> {
    let before = at.checked_sub(1).map(|before| chars[before]);
    if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let prefix = match (chars[at], chars.get(at + 1)) {
        ('r', _) => 1,
        ('b' | 'c', Some('r')) => 2,
        _ => return None,
    };
    let hashes = chars[at + prefix..]
        .iter()
        .take_while(|c| **c == '#')
        .count();
    (chars.get(at + prefix + hashes) == Some(&'"')).then_some(hashes)
}

/// Whether a character literal begins here, and not a lifetime.
fn is_char_literal(chars: &[char], at: usize) -> bool {
    chars[at] == '\''
        && match chars.get(at + 1) {
            Some('\\') => true,
            Some(_) => chars.get(at + 2) == Some(&'\''),
            None => false,
        }
}

/// Marks what follows `#[cfg(test)]`, to the end of its block or statement.
fn mark_test_items(lines: &mut [Line]) {
    let mut at = 0;
    while at < lines.len() {
        if !is_test_only(&lines[at].code) {
            at += 1;
            continue;
        }
        let mut depth = 0i32;
        let mut ended = false;
        while at < lines.len() && !ended {
            lines[at].is_test = true;
            let code = lines[at].code.clone();
            for c in code.chars() {
                depth += match c {
                    '{' => 1,
                    '}' => -1,
                    _ => 0,
                };
                ended |= depth == 0 && matches!(c, '}' | ';');
            }
            at += 1;
        }
    }
}

fn is_test_only(code: &str) -> bool {
    code.trim_start().starts_with("#[cfg(test)]")
}

/// Marks files that are modules for tests by `#[cfg(test)] mod NAME;`.
fn mark_test_modules(files: &mut [File]) {
    let mut folders = HashSet::new();
    for file in files.iter() {
        let folder = match file.stem() {
            "mod" | "lib" | "main" => file.path.rsplit_once('/').map_or("", |(folder, _)| folder),
            _ => file.path.trim_end_matches(".rs"),
        };
        for line in file.lines.iter().filter(|line| line.is_test) {
            if let Some((_, name)) = line.code.split_once("mod ")
                && let Some(name) = name.trim_end().strip_suffix(';')
            {
                folders.insert(format!("{folder}/{name}.rs"));
                folders.insert(format!("{folder}/{name}/"));
            }
        }
    }
    for file in files {
        let within = |place: &String| place.ends_with('/') && file.path.starts_with(place);
        if folders.contains(&file.path) || folders.iter().any(within) {
            file.lines.iter_mut().for_each(|line| line.is_test = true);
        }
    }
}

#[test]
fn comments_and_literals_are_not_code() {
    let file = File::new(
        "a/src/x.rs",
        "let a = \"tokio \\\" // no\"; // tokio\n\
         let b = r#\"a \" tokio\"#; /* one /* two */ tokio\n\
         still */ let c: &'a char = &'\"'; let d = b'\\''; tokio();\n",
    );
    let code: Vec<_> = file
        .lines
        .iter()
        .map(|line| find_word(&line.code, "tokio"))
        .collect();
    assert_eq!((code[0], code[1]), (None, None));
    assert!(code[2].is_some(), "{:?}", file.lines[2]);
    assert_eq!(file.lines[0].comment, "// tokio");
    assert_eq!(file.lines[1].comment, "/* one /* two */ tokio");
    assert!(
        file.lines[2].code.contains("let c: &'a char"),
        "{:?}",
        file.lines[2]
    );
}

#[test]
fn words_are_found_whole() {
    assert_eq!(find_word("use tokio_io::x; tokio::y", "tokio"), Some(17));
    assert_eq!(find_word("my_tokio(tokios)", "tokio"), None);
}

#[test]
fn tests_are_told_from_the_program() {
    let file = File::new(
        "a/src/x.rs",
        "fn a() {}\n#[cfg(test)]\nuse b;\nfn c() {}\n#[cfg(test)]\nmod tests {\n    fn d() {}\n}\nfn e() {}",
    );
    let program: Vec<_> = file.program().map(|(number, _)| number).collect();
    assert_eq!(program, [1, 4, 9]);

    let mut files = vec![
        File::new("a/src/x.rs", "#[cfg(test)]\nmod golden;\nmod other;"),
        File::new("a/src/x/golden.rs", "fn f() {}"),
        File::new("a/src/x/other.rs", "fn f() {}"),
    ];
    mark_test_modules(&mut files);
    assert!(files[1].lines[0].is_test);
    assert!(!files[2].lines[0].is_test);
}
