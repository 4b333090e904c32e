use super::*;
use clap::CommandFactory;
use serde_json::json;

fn parse(words: &str) -> Result<Options, String> {
    let words = std::iter::once("ringway").chain(words.split_whitespace());
    Options::try_parse_from(words).map_err(|error| error.to_string())
}

#[test]
fn clap_finds_no_contradiction() {
    Options::command().debug_assert();
}

#[test]
fn defaults_are_envoys() {
    let options = parse("").expect("nothing is required");
    assert!(!options.has_configuration());
    assert_eq!(options.mode, Mode::Serve);
    assert_eq!(options.log_level, LogLevel::Info);
    assert_eq!(options.concurrency, None);
    assert_eq!(options.drain_time(), Duration::from_secs(600));
    assert_eq!(options.file_flush_interval(), Duration::from_secs(10));
    assert_eq!(options.unsupported_flags(), [""; 0]);
    let json = options.command_line_options_json();
    assert_ne!(json["concurrency"], 0);
    assert_eq!(json["parent_shutdown_time"], "900s");
    assert_eq!(json["log_format"], LOG_FORMAT);
    assert_eq!(json.as_object().map(serde_json::Map::len), Some(39));
}

#[test]
fn flags_as_envoys_users_write_them() {
    let options = parse(
        "-c /etc/envoy.yaml -l warn --mode validate --concurrency 0 --io-driver io_uring \
         --file-flush-interval-msec=1500 --stats-tag a:b --stats-tag c:d:e \
         --drain-strategy immediate --disable-extensions x,y --allow-unknown-fields \
         --component-log-level upstream:debug,config:trace -- --whatever follows",
    )
    .expect("all are valid");
    assert_eq!(options.config_path, Some("/etc/envoy.yaml".into()));
    assert_eq!(options.log_level, LogLevel::Warning);
    assert_eq!(options.mode, Mode::Validate);
    assert_eq!(options.concurrency, Some(0));
    assert_eq!(options.io_driver, DriverChoice::IoUring);
    assert!(options.allow_unknown_static_fields);
    let json = options.command_line_options_json();
    assert_eq!(json["concurrency"], 1);
    assert_eq!(json["file_flush_interval"], "1.500s");
    assert_eq!(options.log_writer_options().flush_bytes, 65_536);
    assert_eq!(options.config_name(), "/etc/envoy.yaml");
    assert_eq!(json["stats_tag"], json!(["a:b", "c:d:e"]));
    assert_eq!(json["disabled_extensions"], json!(["x", "y"]));
    assert_eq!(json["drain_strategy"], "Immediate");
    assert_eq!(json["log_level"], "warning");
    assert_eq!(
        options.unsupported_flags(),
        [
            "--disable-extensions",
            "--stats-tag",
            "--component-log-level"
        ]
    );
    assert_eq!(
        parse("--config-validate").map(|o| o.mode),
        Ok(Mode::Validate)
    );
}

#[test]
fn service_flags_win_over_the_node() {
    let mut node = json!({"id": "a", "cluster": "b"});
    let options = parse("--service-node n --service-zone z").expect("valid");
    options.override_node(&mut node);
    assert_eq!(
        node,
        json!({"id": "n", "cluster": "b", "locality": {"zone": "z"}})
    );
}

#[test]
fn mistakes_are_refused() {
    for (words, part) in [
        ("--bogus", "unexpected argument '--bogus'"),
        ("extra", "unexpected argument 'extra'"),
        ("--mode foo", "invalid value 'foo' for '--mode"),
        ("-l loud", "invalid value 'loud' for '--log-level"),
        (
            "--concurrency abc",
            "invalid value 'abc' for '--concurrency",
        ),
        ("--concurrency -1", "unexpected argument '-1'"),
        (
            "--base-id 4294967296",
            "4294967296 is not in 0..=4294967295",
        ),
        ("-c a -c b", "cannot be used multiple times"),
        ("--stats-tag foo", "misformatted stats-tag 'foo'"),
        ("--stats-tag a-b:c", "the tag name 'a-b'"),
        ("--stats-tag a:b.c", "the tag value 'b.c'"),
        (
            "--stats-tag a:b --stats-tag a:c",
            "the stats tag 'a' is given twice",
        ),
        (
            "--component-log-level upstream:bad",
            "invalid log level specified 'bad'",
        ),
        (
            "--component-log-level upstream",
            "not correctly specified 'upstream'",
        ),
        ("--socket-mode 999", "invalid socket-mode '999'"),
        (
            "--io-driver kqueue",
            "invalid value 'kqueue' for '--io-driver",
        ),
        ("--local-address-ip-version v5", "invalid value 'v5'"),
    ] {
        let error = parse(words).expect_err(words);
        assert!(error.contains(part), "{words}: {error}");
    }
}

#[test]
fn help_names_every_group() {
    let help = Options::command().render_long_help().to_string();
    for heading in [
        CONFIGURATION,
        IDENTITY,
        WORKERS,
        LOGGING,
        PROCESS,
        HOT_RESTART,
    ] {
        assert!(help.contains(&format!("\n{heading}:\n")), "{heading}");
    }
}

fn parse_explain(words: &[&str]) -> Result<ExplainOptions, String> {
    let words = std::iter::once(&"/usr/bin/ringway").chain(words);
    ExplainOptions::try_parse_from(words).map_err(|error| error.to_string())
}

#[test]
fn explain_takes_a_file_or_a_text_or_both() {
    ExplainOptions::command().debug_assert();
    let options = parse_explain(&["--config-yaml", "node: {id: a}"]).expect("a text is enough");
    assert_eq!(options.config_path, None);
    assert_eq!(options.config_yaml.as_deref(), Some("node: {id: a}"));
    let both = parse_explain(&["-c", "f.yaml", "--config-yaml", "{}"]).expect("both are good");
    assert_eq!(both.config_path.as_deref(), Some("f.yaml".as_ref()));
    let none = parse_explain(&["--path", "/x"]).expect_err("one of them is needed");
    assert!(none.contains("--config-path <FILE>"), "{none}");
}

#[test]
fn the_usage_of_explain_names_it() {
    let help = parse_explain(&["--help"]).expect_err("help is printed");
    assert!(help.contains("Usage: ringway explain [OPTIONS]"), "{help}");
    let wrong = parse_explain(&["--pth", "/x"]).expect_err("no such flag");
    assert!(wrong.contains("Usage: ringway explain"), "{wrong}");
}
