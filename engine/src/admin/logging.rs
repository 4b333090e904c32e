//! `/logging`: the loggers' levels, and changing them.

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use super::endpoint::{Endpoint, Process};
use super::reply::Reply;
use super::request::Query;
use super::view::{Action, LogLevel};

pub(super) const ENDPOINT: Endpoint = Endpoint {
    path: "/logging",
    mutates: true,
    help: "print or change logging levels",
    params: &[
        (
            "paths",
            "change several: <logger1>:<level1>,<logger2>:<level2>",
        ),
        (
            "level",
            "change all; One of (, trace, debug, info, warning, error, critical, off)",
        ),
    ],
    handle,
};

fn handle(process: &Process, query: &Query) -> Reply {
    let loggers = process.view.loggers();
    let changes = match changes(query, &loggers) {
        Ok(changes) => changes,
        Err(reason) => {
            let mut body = format!("error: {reason}\n\n{USAGE}");
            let levels = LogLevel::ALL.map(LogLevel::as_str).join(" ");
            let _ = writeln!(body, "levels: {levels} ");
            body.push_str(&list(&loggers));
            return Reply::bad_request(body);
        }
    };
    for (logger, level) in changes {
        process.view.act(Action::SetLogLevel { logger, level });
    }
    Reply::text(list(&process.view.loggers()))
}

const USAGE: &str = "\
usage: /logging?<name>=<level> (change single level)
usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)
usage: /logging?level=<level> (change all levels)
";

type Change = (Option<String>, LogLevel);

fn changes(query: &Query, loggers: &[(String, LogLevel)]) -> Result<Vec<Change>, &'static str> {
    let (name, value) = match query.pairs() {
        [] => return Ok(Vec::new()),
        [(name, value)] => (name.as_str(), value.as_str()),
        _ => return Err("invalid number of parameters"),
    };
    let one = |name: &str, level: &str| {
        if name.is_empty() || level.is_empty() {
            return Err("empty logger name or empty logger level");
        }
        let level = LogLevel::parse(level).ok_or("unknown logger level")?;
        match loggers.iter().any(|(known, _)| known == name) {
            true => Ok((Some(name.to_owned()), level)),
            false => Err("unknown logger name"),
        }
    };
    match name {
        "level" if value.is_empty() => Ok(Vec::new()),
        "level" => {
            let level = LogLevel::parse(value).ok_or("unknown logger level")?;
            Ok(vec![(None, level)])
        }
        "paths" => (value.split(','))
            .map(|change| {
                let (name, level) = change.split_once(':').unwrap_or((change, ""));
                one(name, level)
            })
            .collect(),
        "group" => Err("group parameter requires fine-grain logging to be enabled"),
        name => Ok(vec![one(name, value)?]),
    }
}

fn list(loggers: &[(String, LogLevel)]) -> String {
    let mut text = String::from("active loggers:\n");
    for (name, level) in loggers {
        let _ = writeln!(text, "  {name}: {}", level.as_str());
    }
    text.push('\n');
    text
}

/// The loggers of this process, by Envoy's names, and their levels. Whoever set
/// up `tracing` keeps one, to answer [`ServerView::loggers`] and
/// [`Action::SetLogLevel`].
///
/// [`ServerView::loggers`]: super::ServerView::loggers
pub struct Loggers {
    levels: Mutex<[LogLevel; LOGGERS.len()]>,
    reload: Box<dyn Fn(&str) + Send + Sync>,
}

impl Loggers {
    /// All loggers at one level. `reload` is given what
    /// `tracing_subscriber::EnvFilter` parses, now and after each change.
    #[must_use]
    pub fn new(level: LogLevel, reload: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let loggers = Self {
            levels: Mutex::new([level; LOGGERS.len()]),
            reload: Box::new(reload),
        };
        (loggers.reload)(&loggers.directives());
        loggers
    }

    /// Names and levels, sorted by name.
    #[must_use]
    pub fn list(&self) -> Vec<(String, LogLevel)> {
        let levels = *self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let names = LOGGERS.iter().map(|(name, _)| (*name).to_owned());
        names.zip(levels).collect()
    }

    /// Changes one logger or all; false if there is none with this name.
    pub fn set(&self, logger: Option<&str>, level: LogLevel) -> bool {
        let mut found = false;
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        for ((name, _), of_logger) in LOGGERS.iter().zip(levels.iter_mut()) {
            if logger.is_none_or(|wanted| wanted == *name) {
                *of_logger = level;
                found = true;
            }
        }
        drop(levels);
        (self.reload)(&self.directives());
        found
    }

    fn directives(&self) -> String {
        let levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let directives: Vec<_> = (LOGGERS.iter().zip(levels.iter()))
            .flat_map(|((_, targets), level)| {
                (targets.iter()).map(|target| match *target {
                    "" => level.filter().to_string(),
                    // It warns of frames, as many as a peer likes to send.
                    H2 if *level > LogLevel::Debug => format!("{H2}=off"),
                    target => format!("{target}={}", level.filter()),
                })
            })
            .collect();
        directives.join(",")
    }
}

impl std::fmt::Debug for Loggers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loggers")
            .field("levels", &self.list())
            .finish_non_exhaustive()
    }
}

/// Envoy's names of the loggers that exist here, sorted, and the modules that
/// each stands for. `main` stands for every module that has no logger.
pub const LOGGERS: [(&str, &[&str]); 16] = [
    ("admin", &["ringway::admin"]),
    ("config", &["ringway_config"]),
    ("conn_handler", &["ringway::listener"]),
    ("connection", &["ringway::network"]),
    ("file", &["ringway::access_loggers"]),
    ("filter", &["ringway::filters"]),
    (
        "http",
        &[
            "ringway::http",
            "ringway::filters::network::http_connection_manager",
        ],
    ),
    ("http2", &["ringway::http::http2", H2]),
    ("io", &["ringway::reactor"]),
    ("main", &["", "ringway"]),
    ("misc", &["ringway::formatter"]),
    ("pool", &["ringway::upstream::conn_pool"]),
    ("router", &["ringway::filters::http::router"]),
    ("runtime", &["ringway::control"]),
    ("stats", &["ringway::stats"]),
    ("upstream", &["ringway::upstream"]),
];

/// The library that speaks HTTP/2.
const H2: &str = "h2";

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn known() -> Vec<(String, LogLevel)> {
        ["http", "router"]
            .map(|name| (name.to_owned(), LogLevel::Info))
            .into()
    }

    #[test]
    fn changes_are_checked_before_any_is_made() {
        let some = |name: &str, level| (Some(name.to_owned()), level);
        for (query, expected) in [
            ("", Ok(vec![])),
            ("level", Ok(vec![])),
            ("level=debug", Ok(vec![(None, LogLevel::Debug)])),
            ("level=warn", Ok(vec![(None, LogLevel::Warning)])),
            ("http=trace", Ok(vec![some("http", LogLevel::Trace)])),
            (
                "paths=http:off,router:critical",
                Ok(vec![
                    some("http", LogLevel::Off),
                    some("router", LogLevel::Critical),
                ]),
            ),
            ("level=foo", Err("unknown logger level")),
            ("foo=debug", Err("unknown logger name")),
            ("http=foo", Err("unknown logger level")),
            ("paths=http:info,foo:debug", Err("unknown logger name")),
            ("paths=foo", Err("empty logger name or empty logger level")),
            ("level=info&http=debug", Err("invalid number of parameters")),
            (
                "group=x",
                Err("group parameter requires fine-grain logging to be enabled"),
            ),
        ] {
            let query = Query::parse(query).expect("it is valid");
            assert_eq!(changes(&query, &known()), expected, "{query:?}");
        }
    }

    #[test]
    fn a_change_reloads_the_filter() {
        let reloaded = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&reloaded);
        let loggers = Loggers::new(LogLevel::Info, move |directives: &str| {
            *sink.lock().expect("not poisoned") = directives.to_owned();
        });
        assert!(loggers.set(Some("upstream"), LogLevel::Trace));
        assert!(!loggers.set(Some("unknown"), LogLevel::Trace));
        let directives = reloaded.lock().expect("not poisoned").clone();
        assert!(
            directives.contains("ringway::upstream=trace"),
            "{directives}"
        );
        assert!(directives.contains("ringway::http=info"), "{directives}");
        assert!(directives.contains(",h2=off"), "{directives}");
        let filter = directives.parse::<tracing_subscriber::EnvFilter>();
        assert!(filter.is_ok(), "{directives}");
        let names: Vec<_> = loggers.list().into_iter().map(|(name, _)| name).collect();
        assert!(names.is_sorted());
    }
}
