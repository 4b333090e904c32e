//! Format strings (`%REQ(X)%`) found while lowering.
//!
//! What a format string means is the engine's business, which compiles all of
//! a resource's strings in one go. Until then, and for ever in the lowered
//! types, a string is a number.

use std::sync::Arc;

use crate::context::{Cx, Source};

/// The number of a format string in its [`FormatStrings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatId(pub u32);

/// The format strings of a resource, in the order in which they were found.
#[derive(Debug, Default)]
pub struct FormatStrings {
    strings: Vec<FormatString>,
}

/// A format string and where it was configured.
#[derive(Debug)]
pub struct FormatString {
    /// The text.
    pub text: Arc<str>,
    /// Values that are not set leave nothing instead of a dash.
    pub omit_empty_values: bool,
    /// Where it was written.
    pub source: Source,
}

impl FormatStrings {
    /// Notes a string that was found here.
    pub fn add(&mut self, text: &str, cx: &Cx<'_>) -> FormatId {
        self.push(text, false, cx)
    }

    /// Notes a string that was found here and in which values that are not set
    /// leave nothing instead of a dash.
    pub fn add_omitting_empty(&mut self, text: &str, cx: &Cx<'_>) -> FormatId {
        self.push(text, true, cx)
    }

    fn push(&mut self, text: &str, omit_empty_values: bool, cx: &Cx<'_>) -> FormatId {
        let id = u32::try_from(self.strings.len()).expect("fewer than 2^32 strings fit in memory");
        self.strings.push(FormatString {
            text: text.into(),
            omit_empty_values,
            source: cx.source(),
        });
        FormatId(id)
    }

    /// All strings by number.
    pub fn iter(&self) -> impl Iterator<Item = &FormatString> {
        self.strings.iter()
    }
}
