//! The message as JSON (protobuf's mapping): numbers are numbers or text, names
//! are those of the message or in camel case, `null` is a field that is not
//! set, and what the message does not have is an error.

use std::borrow::Cow;

use super::{METRICS_MAX, Map, Metric, OrcaError};

/// Reads an object.
pub(super) fn read(text: &[u8], f: &mut dyn FnMut(Metric<'_>, f64)) -> Result<(), OrcaError> {
    // Whatever is cut is cut at ASCII characters, so pieces are UTF-8 too.
    str::from_utf8(text).map_err(|_| OrcaError::Json)?;
    let mut reader = Reader {
        rest: text,
        metrics: 0,
    };
    reader.report(f)?;
    match reader.rest.trim_ascii_start() {
        [] => Ok(()),
        _ => Err(OrcaError::Json),
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    /// How many there were.
    metrics: usize,
}

type Read<T> = Result<T, OrcaError>;

impl<'a> Reader<'a> {
    fn report(&mut self, f: &mut dyn FnMut(Metric<'_>, f64)) -> Read<()> {
        self.expect(b'{')?;
        let mut first = true;
        while let Some(name) = self.next_key(&mut first)? {
            let metric = match &*name {
                b"cpu_utilization" | b"cpuUtilization" => Metric::CpuUtilization,
                b"mem_utilization" | b"memUtilization" => Metric::MemUtilization,
                b"application_utilization" | b"applicationUtilization" => {
                    Metric::ApplicationUtilization
                }
                b"rps_fractional" | b"rpsFractional" => Metric::RpsFractional,
                b"eps" => Metric::Eps,
                b"rps" => {
                    self.whole_number()?;
                    continue;
                }
                b"request_cost" | b"requestCost" => {
                    self.map(Map::RequestCost, f)?;
                    continue;
                }
                b"utilization" => {
                    self.map(Map::Utilization, f)?;
                    continue;
                }
                b"named_metrics" | b"namedMetrics" => {
                    self.map(Map::NamedMetrics, f)?;
                    continue;
                }
                _ => return Err(OrcaError::UnknownMetric),
            };
            if let Some(number) = self.number()? {
                self.count()?;
                f(metric, number);
            }
        }
        Ok(())
    }

    fn map(&mut self, map: Map, f: &mut dyn FnMut(Metric<'_>, f64)) -> Read<()> {
        if self.takes_null() {
            return Ok(());
        }
        self.expect(b'{')?;
        let mut first = true;
        while let Some(key) = self.next_key(&mut first)? {
            let number = self.number()?.unwrap_or(0.0);
            self.count()?;
            f(Metric::Entry(map, &key), number);
        }
        Ok(())
    }

    fn count(&mut self) -> Read<()> {
        self.metrics += 1;
        match self.metrics > METRICS_MAX {
            true => Err(OrcaError::TooMany),
            false => Ok(()),
        }
    }

    /// The key of the next member and its colon; `None` at the end of the
    /// object.
    fn next_key(&mut self, first: &mut bool) -> Read<Option<Cow<'a, [u8]>>> {
        if self.takes(b'}') {
            return Ok(None);
        }
        if !std::mem::take(first) {
            self.expect(b',')?;
            // As protobuf's own reader, which lets a comma follow the last
            // member.
            if self.takes(b'}') {
                return Ok(None);
            }
        }
        let key = self.string()?;
        self.expect(b':')?;
        Ok(Some(key))
    }

    /// A number, also one in quotes, where it may be infinite or none at all;
    /// `None` for `null`.
    fn number(&mut self) -> Read<Option<f64>> {
        if self.takes_null() {
            return Ok(None);
        }
        self.rest = self.rest.trim_ascii_start();
        if self.rest.first() == Some(&b'"') {
            let text = self.string()?;
            return match &*text {
                b"NaN" => Ok(Some(f64::NAN)),
                b"Infinity" => Ok(Some(f64::INFINITY)),
                b"-Infinity" => Ok(Some(f64::NEG_INFINITY)),
                text => finite(text).map(Some),
            };
        }
        finite(self.number_text()).map(Some)
    }

    /// `rps`, which `rps_fractional` has replaced: it has to be right, and is
    /// used for nothing.
    fn whole_number(&mut self) -> Read<()> {
        match self.number()? {
            Some(number) if !(number >= 0.0 && number.fract() == 0.0) => Err(OrcaError::Json),
            _ => Ok(()),
        }
    }

    fn number_text(&mut self) -> &'a [u8] {
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let end = self.rest.iter().position(|byte| !is_part(byte));
        let (text, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        text
    }

    /// A string, without its escapes.
    fn string(&mut self) -> Read<Cow<'a, [u8]>> {
        self.expect(b'"')?;
        let stop = |byte: &u8| *byte < b' ' || matches!(byte, b'"' | b'\\');
        let mut text = Cow::Borrowed(&b""[..]);
        loop {
            let end = self.rest.iter().position(stop).ok_or(OrcaError::Json)?;
            let (piece, rest) = self.rest.split_at(end);
            match &mut text {
                Cow::Borrowed([]) => text = Cow::Borrowed(piece),
                text => text.to_mut().extend_from_slice(piece),
            }
            self.rest = rest;
            if self.take()? == b'"' {
                return Ok(text);
            }
            // Control characters have to be escaped.
            if rest[0] != b'\\' {
                return Err(OrcaError::Json);
            }
            let escaped = self.escape()?;
            let mut utf8 = [0; 4];
            let escaped = escaped.encode_utf8(&mut utf8);
            text.to_mut().extend_from_slice(escaped.as_bytes());
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Read<char> {
        Ok(match self.take()? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.unit()?;
                let second = match first {
                    0xd800..0xdc00 if self.rest.starts_with(b"\\u") => {
                        self.rest = &self.rest[2..];
                        Some(self.unit()?)
                    }
                    _ => None,
                };
                let units = [Some(first), second].into_iter().flatten();
                let mut decoded = char::decode_utf16(units);
                match (decoded.next(), decoded.next()) {
                    (Some(Ok(character)), None) => character,
                    _ => return Err(OrcaError::Json),
                }
            }
            _ => return Err(OrcaError::Json),
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Read<u16> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = char::from(self.take()?).to_digit(16);
            unit = unit << 4 | digit.ok_or(OrcaError::Json)? as u16;
        }
        Ok(unit)
    }

    fn takes_null(&mut self) -> bool {
        self.rest = self.rest.trim_ascii_start();
        let rest = self.rest.strip_prefix(b"null");
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn takes(&mut self, byte: u8) -> bool {
        self.rest = self.rest.trim_ascii_start();
        let is_there = self.rest.first() == Some(&byte);
        self.rest = &self.rest[usize::from(is_there)..];
        is_there
    }

    fn expect(&mut self, byte: u8) -> Read<()> {
        match self.takes(byte) {
            true => Ok(()),
            false => Err(OrcaError::Json),
        }
    }

    fn take(&mut self) -> Read<u8> {
        let (byte, rest) = self.rest.split_first().ok_or(OrcaError::Json)?;
        self.rest = rest;
        Ok(*byte)
    }
}

/// A number as JSON has it, which is stricter than what Rust reads.
fn finite(text: &[u8]) -> Read<f64> {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(unsigned);
    let mut rest = &unsigned[whole..];
    let mut valid = whole == 1 || whole > 1 && unsigned[0] != b'0';
    if let Some(fraction) = rest.strip_prefix(b".") {
        let size = digits(fraction);
        valid &= size > 0;
        rest = &fraction[size..];
    }
    if let Some((b'e' | b'E', exponent)) = rest.split_first() {
        let exponent = match exponent {
            [b'+' | b'-', digits @ ..] => digits,
            digits => digits,
        };
        let size = digits(exponent);
        valid &= size > 0;
        rest = &exponent[size..];
    }
    let number = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    match number {
        Some(number) if valid && rest.is_empty() && f64::is_finite(number) => Ok(number),
        _ => Err(OrcaError::Json),
    }
}
