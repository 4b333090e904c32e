//! The command line of `ringway explain`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// What was typed after `ringway explain`.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "ringway explain",
    bin_name = "ringway explain",
    about = "Say what would happen to a request and which line of the configuration says so",
    max_term_width = 100
)]
pub struct ExplainOptions {
    /// Configuration file: .yaml, .yml, .json, or .pb for an encoded Bootstrap
    #[arg(
        short = 'c',
        long,
        value_name = "FILE",
        required_unless_present = "config_yaml"
    )]
    pub config_path: Option<PathBuf>,

    /// YAML text, merged over the file as protobuf merges messages
    #[arg(long, value_name = "YAML")]
    pub config_yaml: Option<String>,

    /// Method of the request
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    pub method: String,

    /// Protocol of the request: HTTP/1.1 or HTTP/1.0
    #[arg(long, value_name = "PROTOCOL", default_value = "HTTP/1.1")]
    pub protocol: String,

    /// Host of the request; the address of the listener by default, none of HTTP/1.0
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,

    /// Path of the request, with its query, or a whole URL, or *
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub path: String,

    /// A header of the request, repeatable
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(String, String)>,

    /// Address of the client
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub remote: String,

    /// Name or port of the listener that gets it; all by default
    #[arg(long, value_name = "LISTENER")]
    pub listener: Option<String>,

    /// Number that decides fractions and weights
    #[arg(long, value_name = "N", default_value = "0")]
    pub random: String,

    /// Say of all routes that do not match why, not only of the first ones
    #[arg(long)]
    pub all_routes: bool,

    /// How to print the answer
    #[arg(long, value_enum, default_value_t = Layout::Text)]
    pub format: Layout,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// Indented lines
    Text,
    /// JSON
    Json,
}

impl ExplainOptions {
    /// The parameters of `/explain` that mean the same.
    #[must_use]
    pub fn parameters(&self) -> Vec<(String, String)> {
        let mut parameters = vec![
            ("method".to_owned(), self.method.clone()),
            ("protocol".to_owned(), self.protocol.clone()),
            ("path".to_owned(), self.path.clone()),
            ("remote".to_owned(), self.remote.clone()),
            ("random".to_owned(), self.random.clone()),
        ];
        let host = self.host.iter();
        parameters.extend(host.map(|host| ("host".to_owned(), host.clone())));
        if self.all_routes {
            parameters.push(("all_routes".to_owned(), "true".to_owned()));
        }
        let listener = self.listener.iter();
        parameters.extend(listener.map(|name| ("listener".to_owned(), name.clone())));
        let headers = self.headers.iter();
        parameters.extend(headers.map(|(name, value)| (format!("h.{name}"), value.clone())));
        parameters
    }
}

/// `NAME: VALUE`, as curl takes it.
fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.trim().into())),
        _ => Err("a header is written NAME: VALUE".into()),
    }
}
