//! Everything that can be seen of one exchange: at the client, at the origin,
//! in the access log, in the statistics. What differs from run to run (ports,
//! times, random ids) is replaced by a name.

mod books;

pub use books::moved;

use crate::admin::{Admin, Stats};
use crate::bootstrap::{self, LOG_OPERATORS, Listener};
use crate::case::Case;
use crate::client::{self, Outcome, Stage, Step};
use crate::logs;
use crate::message::{self, Message};
use crate::origin::{Origin, Seen};
use crate::ports::{Reserved, Stuck};
use crate::process::{Process, Program};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What was seen, aspect by aspect: `response[0].status` and so on.
pub type Observation = BTreeMap<String, String>;

/// Looks at the books without a movement until they count as finished.
const STILL_LOOKS: u32 = 2;

/// How long the proxy may take to finish its books after the client has gone.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// So long lines are waited for that should come; of some requests there are none.
const LOG_PATIENCE: Duration = Duration::from_secs(2);

/// The aspect of a message that is the order of its headers.
const ORDER: &str = ".order";

/// Bodies longer than this are compared by length and hash.
const BODY_SHOWN_MAX: usize = 400;

/// Ports of 127.0.0.1 for clusters.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// The origin's.
    pub origin: u16,
    /// A second origin's, to which requests are mirrored.
    pub mirror: u16,
    /// Refuses connections.
    pub refused: u16,
    /// Answers no connection.
    pub stuck: u16,
}

/// A proxy with an origin of its own, on which cases are played one by one.
pub struct Scene {
    /// The proxy.
    pub process: Process,
    /// The upstream of the cluster `origin` and its variants.
    pub origin: Origin,
    mirror: Origin,
    addresses: HashMap<&'static str, SocketAddr>,
    names: Vec<(u16, String)>,
    ports: Ports,
    /// Bound, so that nobody else gets the port, but not listening.
    _refusing: Reserved,
    _stuck: Stuck,
}

impl Scene {
    /// Starts `program` with `listeners` and the clusters that `clusters`
    /// makes of some ports.
    ///
    /// # Panics
    /// When the program does not start.
    #[must_use]
    pub fn start(
        program: &Program,
        listeners: &[Listener],
        clusters: impl FnOnce(Ports) -> String,
    ) -> Scene {
        Scene::start_with(program, listeners, clusters, "")
    }

    /// [`Scene::start`] with `more` fields of the bootstrap, in YAML at the left
    /// margin.
    ///
    /// # Panics
    /// When the program does not start.
    #[must_use]
    pub fn start_with(
        program: &Program,
        listeners: &[Listener],
        clusters: impl FnOnce(Ports) -> String,
        more: &str,
    ) -> Scene {
        let (origin, mirror) = (Origin::start(), Origin::start());
        let refusing = Reserved::new();
        let stuck = Stuck::new();
        let ports = Ports {
            origin: origin.address().port(),
            mirror: mirror.address().port(),
            refused: refusing.port(),
            stuck: stuck.port(),
        };
        let clusters = clusters(ports);
        let configuration = bootstrap::bootstrap(listeners, &clusters) + more;
        let process = Process::start(program, &configuration);
        let addresses: HashMap<_, _> = listeners
            .iter()
            .map(|listener| (listener.name, process.listener(listener.name)))
            .collect();
        let mut names = vec![
            (origin.address().port(), "ORIGIN".to_owned()),
            (ports.mirror, "MIRROR".to_owned()),
            (ports.refused, "REFUSED".to_owned()),
            (ports.stuck, "STUCK".to_owned()),
        ];
        names.extend(
            addresses
                .values()
                .map(|address| (address.port(), "LISTENER".to_owned())),
        );
        Scene {
            process,
            origin,
            mirror,
            addresses,
            names,
            ports,
            _refusing: refusing,
            _stuck: stuck,
        }
    }

    /// Where a listener listens.
    #[must_use]
    pub fn address(&self, listener: &str) -> SocketAddr {
        self.addresses[listener]
    }

    /// Where upstreams are, or are not.
    #[must_use]
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Plays a case and returns all that was seen.
    #[must_use]
    pub fn play(&self, case: &Case) -> Observation {
        self.play_with_outcome(case).0
    }

    /// [`Scene::play`], with the client's part as it was.
    #[must_use]
    pub fn play_with_outcome(&self, case: &Case) -> (Observation, Outcome) {
        let admin = self.process.admin();
        self.origin.play(case.origin.clone());
        self.mirror.play(case.mirror.clone());
        let before = await_still(admin, |stats| {
            quiet(stats) && gauges(stats, "cluster.", ".upstream_cx_active") == 0
        });
        let log_path = self.process.folder().join(format!("{}.log", case.listener));
        let log_start = std::fs::metadata(&log_path).map_or(0, |file| file.len() as usize);

        let steps: Vec<_> = case.steps.iter().map(|step| self.in_place(step)).collect();
        let stage = self.stage();
        let address = self.addresses[case.listener];
        let outcome = client::converse_on(Some(&stage), address, &steps, &case.expected);

        let after = self.settle(&stage, case, &before);
        let moved = differences(&before, &after);
        let requests = moved_by(
            &moved,
            &format!("http.{}.downstream_rq_total", case.listener),
        );
        let upstream: i64 = moved
            .iter()
            .filter(|(name, _)| {
                name.starts_with("cluster.") && name.ends_with(".upstream_rq_total")
            })
            .map(|(_, by)| by)
            .sum();
        let (seen, mirrored) = self.await_seen(upstream);
        let log = await_log(&log_path, log_start, requests);

        let mut all = Observation::new();
        self.see_client(&outcome, &mut all);
        self.see_origin(&seen, &mut all);
        self.see_mirror(&mirrored, &mut all);
        self.see_log(&log, &mut all);
        for (name, by) in &moved {
            // How much moves at a time, and how often a side is held up by it, is a
            // matter of pace.
            if !name.contains("bytes") && !name.contains("flow_control") {
                all.insert(format!("stats.{}", self.masked(name)), format!("{by:+}"));
            }
        }
        (all, outcome)
    }

    /// A step that knows of this scene: in its bytes `{ORIGIN}`, `{MIRROR}` and
    /// `{REFUSED}` are ports.
    fn in_place(&self, step: &Step) -> Step {
        let replaced = |bytes: &[u8]| {
            // What is no text has no names in it.
            let Ok(text) = std::str::from_utf8(bytes) else {
                return bytes.to_vec();
            };
            text.replace("{ORIGIN}", &self.ports.origin.to_string())
                .replace("{MIRROR}", &self.ports.mirror.to_string())
                .replace("{REFUSED}", &self.ports.refused.to_string())
                .into_bytes()
        };
        match step {
            Step::Send(bytes) => Step::Send(replaced(bytes)),
            Step::Pieces(bytes, size) => Step::Pieces(replaced(bytes), *size),
            Step::AwaitStat(name, value, _) => {
                let admin = self.process.admin().clone();
                Step::AwaitStat(name.clone(), *value, Some(admin))
            }
            other => other.clone(),
        }
    }

    /// What goes on behind clients.
    #[must_use]
    pub fn stage(&self) -> Stage {
        Stage {
            admin: self.process.admin().clone(),
            origin: self.origin.witness(),
            mirror: self.mirror.witness(),
        }
    }

    /// The stats once nobody has anything more to do for this case.
    fn settle(&self, stage: &Stage, case: &Case, before: &Stats) -> Stats {
        let total = format!("http.{}.downstream_cx_total", case.listener);
        let old = before.get(&total).copied().unwrap_or(0);
        await_still(&stage.admin, |stats| {
            stats.get(&total).copied().unwrap_or(0) > old
                && quiet(stats)
                && gauges(stats, "cluster.", ".upstream_rq_active") == 0
                && gauges(stats, "cluster.", ".upstream_rq_pending_active") == 0
                // What nobody takes is given up later than its request, and counted then.
                && gauges(stats, "cluster.stuck", ".upstream_cx_active") == 0
                && stage.is_at_rest()
        })
    }

    fn await_seen(&self, count: i64) -> (Vec<Seen>, Vec<Seen>) {
        let begun = Instant::now();
        loop {
            let (seen, mirrored) = (self.origin.seen(), self.mirror.seen());
            let settled = (seen.len() + mirrored.len()) as i64 >= count
                && seen.iter().chain(&mirrored).all(|one| one.request.complete);
            let patience = match self.origin.is_reading() {
                true => Duration::from_secs(1),
                false if settled => Duration::ZERO,
                false => Duration::from_millis(200),
            };
            if begun.elapsed() >= patience {
                return (seen, mirrored);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn see_client(&self, outcome: &Outcome, all: &mut Observation) {
        for (number, message) in outcome.messages.iter().enumerate() {
            self.see_message(message, &format!("response[{number}]"), all);
        }
        if !outcome.rest.is_empty() {
            all.insert("client.rest".into(), message::printable(&outcome.rest));
        }
        all.insert("client.end".into(), format!("{:?}", outcome.end));
    }

    fn see_origin(&self, seen: &[Seen], all: &mut Observation) {
        for (number, one) in seen.iter().enumerate() {
            let prefix = format!("upstream[{number}]");
            self.see_message(&one.request, &prefix, all);
            all.insert(format!("{prefix}.connection"), one.connection.to_string());
        }
    }

    /// Mirrored requests come in any order, on any connection.
    fn see_mirror(&self, seen: &[Seen], all: &mut Observation) {
        let mut requests: Vec<_> = seen.iter().map(|one| &one.request).collect();
        requests.sort_by_key(|request| format!("{request:?}"));
        for (number, request) in requests.into_iter().enumerate() {
            self.see_message(request, &format!("mirror[{number}]"), all);
        }
    }

    fn see_message(&self, message: &Message, prefix: &str, all: &mut Observation) {
        let names: Vec<_> = message
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        all.insert(format!("{prefix}{ORDER}"), names.join(" "));
        all.insert(format!("{prefix}.line"), self.masked(&message.first_line));
        for (part, fields) in [("header", &message.headers), ("trailer", &message.trailers)] {
            let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for (name, value) in fields {
                let value = self.masked_value(&normal_value(name, value));
                values.entry(name.clone()).or_default().push(value);
            }
            for (name, values) in values {
                all.insert(format!("{prefix}.{part}.{name}"), values.join(" || "));
            }
        }
        let body = if message.body.len() > BODY_SHOWN_MAX {
            format!(
                "{} bytes, hash {:x}",
                message.body.len(),
                hash(&message.body)
            )
        } else {
            self.masked(&message.body.escape_ascii().to_string())
        };
        let complete = if message.complete { "" } else { " (cut)" };
        all.insert(format!("{prefix}.body"), format!("{body}{complete}"));
        all.insert(
            format!("{prefix}.framing"),
            format!("{:?}", message.framing),
        );
    }

    fn see_log(&self, log: &[String], all: &mut Observation) {
        for (number, line) in log.iter().enumerate() {
            let values: Vec<_> = line.split('\t').collect();
            if values.len() != LOG_OPERATORS.len() {
                let words: Vec<_> = without_times(line)
                    .iter()
                    .map(|word| self.masked_value(word))
                    .collect();
                all.insert(format!("log[{number}]"), words.join(" "));
                continue;
            }
            for (value, (name, _)) in values.iter().zip(LOG_OPERATORS) {
                let value = value.split_once('=').map_or(*value, |(_, value)| value);
                all.insert(format!("log[{number}].{name}"), self.masked(value));
            }
        }
        all.insert("log.lines".into(), log.len().to_string());
    }

    fn masked_value(&self, value: &str) -> String {
        let mut names = self.names.iter();
        match names.find(|(port, _)| port.to_string() == value) {
            Some((_, name)) => name.clone(),
            None => self.masked(value),
        }
    }

    /// Ports, by the name of what listens there.
    fn masked(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (port, name) in &self.names {
            for separator in [':', '_'] {
                text = text.replace(&format!("{separator}{port}"), &format!("{separator}{name}"));
            }
        }
        text
    }
}

/// Values that differ from run to run.
fn normal_value(name: &str, value: &str) -> String {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let uuid = |text: &str| {
        text.len() == 36
            && text
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
    };
    match name.to_ascii_lowercase().as_str() {
        "date" if value.len() == 29 && value.ends_with(" GMT") => "<date>".into(),
        "x-request-id" if uuid(value) => "<uuid>".into(),
        "x-envoy-upstream-service-time" if digits(value) => "<milliseconds>".into(),
        _ => value.to_owned(),
    }
}

/// Stats for which `condition` holds and of which nothing moves any more:
/// counters and gauges that belong together do not move at once. On a busy
/// machine they move later, and looking takes longer as well: the condition must
/// have held, and nothing moved, for the time of several looks.
pub fn await_still(admin: &Admin, condition: impl Fn(&Stats) -> bool) -> Stats {
    await_still_within(admin, SETTLE_MAX, condition)
}

/// [`await_still`], for so long at most.
pub fn await_still_within(
    admin: &Admin,
    max: Duration,
    condition: impl Fn(&Stats) -> bool,
) -> Stats {
    let mut last = Stats::new();
    let mut looked = Instant::now();
    let mut still_since = looked;
    let (stats, _) = admin.await_stats(max, |stats| {
        let now = Instant::now();
        let look = now - std::mem::replace(&mut looked, now);
        let holds = condition(stats);
        if !holds || !differences(&last, stats).is_empty() {
            last.clone_from(stats);
            still_since = now;
        }
        holds && now - still_since >= look * STILL_LOOKS
    });
    stats
}

/// The words of a log line of a format of its own, without times and random
/// ids. In Envoy's default format the last two numbers before the first quoted
/// header are durations.
fn without_times(line: &str) -> Vec<String> {
    let default_format = line.starts_with('[');
    line.split(' ')
        .enumerate()
        .map(|(place, word)| {
            let inner = word.trim_matches(['[', ']', '"', ',']);
            let is_time = inner.len() == 24 && inner.ends_with('Z');
            let is_duration = default_format
                && (place == 8 || place == 9)
                && inner.bytes().all(|byte| byte.is_ascii_digit());
            if is_time {
                word.replace(inner, "<time>")
            } else if is_duration {
                "<milliseconds>".to_owned()
            } else {
                word.replace(inner, &normal_value("x-request-id", inner))
            }
        })
        .collect()
}

/// No downstream connection is left, and no line of a log waits to be written: it
/// would be seen in the next case.
fn quiet(stats: &Stats) -> bool {
    gauges(stats, "filesystem.", "write_total_buffered") == 0
        && gauges(stats, "listener.127", ".downstream_cx_active") == 0
        && ["downstream_cx_active", "downstream_cx_http1_active"]
            .iter()
            .all(|gauge| {
                // The admin server counts the connection that asks it.
                let of_admin = stats.get(&format!("http.admin.{gauge}"));
                gauges(stats, "http.", &format!(".{gauge}")) <= of_admin.copied().unwrap_or(0)
            })
}

/// The sum of all statistics with such names.
pub(crate) fn gauges(stats: &Stats, prefix: &str, suffix: &str) -> u64 {
    stats
        .iter()
        .filter(|(name, _)| name.starts_with(prefix) && name.ends_with(suffix))
        .map(|(_, value)| value)
        .sum()
}

/// What moved between two looks, of the parts that a request can move.
fn differences(before: &Stats, after: &Stats) -> BTreeMap<String, i64> {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .filter(|name| {
            ["http.", "http1.", "http2.", "cluster.", "listener."]
                .iter()
                .any(|part| name.starts_with(part))
                && !name.starts_with("listener.admin.")
                && !name.starts_with("http.admin.")
        })
        .filter_map(|name| {
            let value = |stats: &Stats| stats.get(name).copied().unwrap_or(0) as i64;
            let by = value(after) - value(before);
            (by != 0).then(|| (name.clone(), by))
        })
        .collect()
}

fn moved_by(moved: &BTreeMap<String, i64>, name: &str) -> i64 {
    moved.get(name).copied().unwrap_or(0)
}

/// What was added to the log: at least `lines` lines, unless they do not come.
fn await_log(path: &std::path::Path, start: usize, lines: i64) -> Vec<String> {
    let deadline = Instant::now() + LOG_PATIENCE;
    loop {
        let new = logs::lines(path, start);
        let of_ends = new.iter().filter(|line| !is_before_end(line));
        if of_ends.count() as i64 >= lines || Instant::now() > deadline {
            return new;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a line says at its start that its request was not over.
fn is_before_end(line: &str) -> bool {
    [
        "DownstreamStart ",
        "DownstreamPeriodic ",
        "DownstreamTunnelSuccessfullyEstablished ",
    ]
    .iter()
    .any(|kind| line.starts_with(kind))
}

fn hash(bytes: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// Of two lists of headers, those that are in both, in the order of the first
/// and of the second: what only one has is a difference of its own.
fn common_order(first: &str, second: &str) -> (String, String) {
    let only = |list: &str, other: &str| {
        let in_other = |name: &&str| other.split(' ').any(|one| one == *name);
        list.split(' ')
            .filter(in_other)
            .collect::<Vec<_>>()
            .join(" ")
    };
    (only(first, second), only(second, first))
}

/// The aspects in which two observations differ: name, first, second.
#[must_use]
pub fn compare(first: &Observation, second: &Observation) -> Vec<(String, String, String)> {
    let names: BTreeSet<_> = first.keys().chain(second.keys()).collect();
    let value = |all: &Observation, name: &String| {
        all.get(name)
            .map_or_else(|| "(nothing)".to_owned(), |value| format!("{value:?}"))
    };
    names
        .into_iter()
        .map(|name| match (first.get(name), second.get(name)) {
            (Some(first), Some(second)) if name.ends_with(ORDER) => {
                let (first, second) = common_order(first, second);
                (name.clone(), first, second)
            }
            _ => (name.clone(), value(first, name), value(second, name)),
        })
        .filter(|(_, first, second)| first != second)
        .collect()
}
