//! The process's limit on open files.
//!
//! A proxy needs two descriptors a proxied connection. Distributions start
//! programs with a soft limit of 1,024 and a hard limit a thousand times
//! higher, and a proxy that runs into the soft one refuses connections for no
//! good reason. So the soft limit is raised at start, and reported.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The soft limit on open files before and after raising it; `None` is no
/// limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFiles {
    /// The soft limit that the process was started with.
    pub before: Option<u64>,
    /// The soft limit now, which is the hard limit.
    pub now: Option<u64>,
}

/// Raises the soft limit on open files to the hard limit.
///
/// # Errors
/// The kernel's refusal.
pub fn raise_open_files() -> io::Result<OpenFiles> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    Ok(OpenFiles {
        before: limit.current,
        now: limit.maximum,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_limit() {
        let raised = raise_open_files().expect("raising to the hard limit is always allowed");
        assert_eq!(getrlimit(Resource::Nofile).current, raised.now);
    }
}
