//! The file that secrets of sessions are written to, for those who look into recorded
//! connections (the format of NSS's `SSLKEYLOGFILE`).

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::Arc;

use ringway_config::context::Cx;
use ringway_config::tls;

/// An open file. Each line is one write, which the kernel appends whole whichever
/// worker it comes from.
#[derive(Debug)]
struct KeyLogFile(File);

/// Opens the file of a context; without one nothing is logged.
pub(super) fn open(
    config: Option<&tls::KeyLog>,
    cx: &mut Cx<'_>,
) -> Option<Arc<dyn rustls::KeyLog>> {
    let Some(config) = config else {
        return Some(Arc::new(rustls::NoKeyLog));
    };
    match OpenOptions::new()
        .append(true)
        .create(true)
        .open(&config.file)
    {
        Ok(file) => Some(Arc::new(KeyLogFile(file))),
        Err(error) => {
            let reason = format!("cannot open {:?}: {error}", config.file);
            cx.at(&config.path, |cx| cx.error(reason));
            None
        }
    }
}

impl rustls::KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line =
            String::with_capacity(label.len() + 2 * (client_random.len() + secret.len()) + 3);
        line.push_str(label);
        for bytes in [client_random, secret] {
            line.push(' ');
            for byte in bytes {
                let _ = write!(line, "{byte:02x}");
            }
        }
        line.push('\n');
        // A full disk must not end the connections that the log is about.
        let _ = (&self.0).write_all(line.as_bytes());
    }
}
