//! One exchange: what the client sends, how the origin behaves, what is looked at.

use crate::client::{Expectation, Step};
use crate::http2;
use crate::origin::{self, Act};
use std::time::Duration;

/// A case of a table. Built with [`case`] and the methods below.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, unique in its suite.
    pub name: &'static str,
    /// The listener that it talks to.
    pub listener: &'static str,
    /// What the client does.
    pub steps: Vec<Step>,
    /// What the origin does.
    pub origin: Vec<Act>,
    /// What the upstream of mirrored requests does.
    pub mirror: Vec<Act>,
    /// How the client's part ends.
    pub expected: Expectation,
}

/// A case whose client sends `bytes` and waits for one answer from an origin
/// that says `200`.
#[must_use]
pub fn case(name: &'static str, listener: &'static str, bytes: impl AsRef<[u8]>) -> Case {
    Case {
        name,
        listener,
        steps: vec![Step::Send(bytes.as_ref().to_vec())],
        origin: origin::answer_ok(),
        mirror: origin::answer_ok(),
        expected: Expectation::default(),
    }
}

impl Case {
    /// The client does this instead.
    #[must_use]
    pub fn steps(mut self, steps: impl Into<Vec<Step>>) -> Case {
        self.steps = steps.into();
        self
    }

    /// The client does this, too.
    #[must_use]
    pub fn then(mut self, step: Step) -> Case {
        self.steps.push(step);
        self
    }

    /// The client sends these bytes, too.
    #[must_use]
    pub fn then_send(self, bytes: impl AsRef<[u8]>) -> Case {
        self.then(Step::Send(bytes.as_ref().to_vec()))
    }

    /// What is sent is cut into pieces of `size` bytes.
    #[must_use]
    pub fn in_pieces(mut self, size: usize) -> Case {
        for step in &mut self.steps {
            if let Step::Send(bytes) = step {
                *step = Step::Pieces(std::mem::take(bytes), size);
            }
        }
        self
    }

    /// The origin does this instead.
    #[must_use]
    pub fn origin(mut self, acts: impl Into<Vec<Act>>) -> Case {
        self.origin = acts.into();
        self
    }

    /// The origin reads a request and sends these bytes.
    #[must_use]
    pub fn answer(self, bytes: impl AsRef<[u8]>) -> Case {
        let acts = origin::answer(bytes);
        self.origin(acts)
    }

    /// The upstream of mirrored requests does this instead.
    #[must_use]
    pub fn mirror(mut self, acts: impl Into<Vec<Act>>) -> Case {
        self.mirror = acts.into();
        self
    }

    /// The number of final answers to wait for; with 0, the end of the
    /// connection.
    #[must_use]
    pub fn answers(mut self, count: usize) -> Case {
        self.expected.answers = count;
        self
    }

    /// The answers are answers to HEAD.
    #[must_use]
    pub fn to_head(mut self) -> Case {
        self.expected.to_head = true;
        self
    }

    /// The client speaks HTTP/2: what it sends are frames behind the preface
    /// (see [`http2`]), and the answers are frames.
    #[must_use]
    pub fn http2(mut self) -> Case {
        let preface = Step::Send(http2::preface());
        self.steps.insert(0, preface);
        self.expected.http2 = true;
        self
    }

    /// How long to watch whether the proxy closes the connection.
    #[must_use]
    pub fn watch(mut self, time: Duration) -> Case {
        self.expected.watch = Some(time);
        self
    }
}
