//! HAProxy's configuration.

use super::{Protocol, Setup};
use crate::tls::Identity;

/// A proxy in front of one origin; `splice` lets the kernel move bytes.
pub fn proxy(setup: &Setup<'_>, splice: bool) -> String {
    let Setup {
        protocol,
        listen,
        origin,
        connections,
        dir,
    } = setup;
    let mode = match protocol {
        Protocol::Tcp => "  mode tcp\n",
        _ => {
            "  mode http\n  option forwardfor\n  http-reuse always\n  timeout http-keep-alive 1h\n"
        }
    };
    let splice = match splice {
        true => "  option splice-response\n  option splice-request\n",
        false => "",
    };
    let bind = match protocol {
        Protocol::Http1 | Protocol::Tcp => String::new(),
        Protocol::Tls => {
            let file = Identity::combined(dir);
            format!(" ssl crt {} alpn h2,http/1.1", file.display())
        }
        Protocol::H2c | Protocol::Grpc => " proto h2".to_owned(),
    };
    let server = match protocol {
        Protocol::Grpc => " proto h2",
        _ => "",
    };
    format!(
        "global
  nbthread 1
  maxconn {connections}
  no strict-limits

defaults
{mode}  no log
{splice}  timeout connect 5s
  timeout client 1h
  timeout server 1h

frontend front
  bind {listen}{bind}
  maxconn {connections}
  default_backend origin

backend origin
  server origin {origin}{server} pool-max-conn 2000 pool-purge-delay 1h
"
    )
}
