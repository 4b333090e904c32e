//! The message in protobuf's wire format: fixed 64-bit numbers, and maps, whose
//! entries are messages of a key and a number.

use super::{Map, Metric, OrcaError};

/// Reads a message. Fields that it does not know are skipped, as protobuf has
/// it.
pub(super) fn read(bytes: &[u8], f: &mut dyn FnMut(Metric<'_>, f64)) -> Result<(), OrcaError> {
    let mut input = Input(bytes);
    while let Some(field) = input.field()? {
        let (metric, number) = match field {
            (1, Value::Fixed(number)) => (Metric::CpuUtilization, number),
            (2, Value::Fixed(number)) => (Metric::MemUtilization, number),
            (6, Value::Fixed(number)) => (Metric::RpsFractional, number),
            (7, Value::Fixed(number)) => (Metric::Eps, number),
            (9, Value::Fixed(number)) => (Metric::ApplicationUtilization, number),
            (4, Value::Bytes(entry)) => self::entry(Map::RequestCost, entry)?,
            (5, Value::Bytes(entry)) => self::entry(Map::Utilization, entry)?,
            (8, Value::Bytes(entry)) => self::entry(Map::NamedMetrics, entry)?,
            _ => continue,
        };
        f(metric, number);
    }
    Ok(())
}

fn entry(map: Map, bytes: &[u8]) -> Result<(Metric<'_>, f64), OrcaError> {
    let mut input = Input(bytes);
    let (mut key, mut number) = (&b""[..], 0.0);
    while let Some(field) = input.field()? {
        match field {
            // A string has to be UTF-8.
            (1, Value::Bytes(bytes)) if str::from_utf8(bytes).is_ok() => key = bytes,
            (1, Value::Bytes(_)) => return Err(OrcaError::Protobuf),
            (2, Value::Fixed(value)) => number = value,
            _ => {}
        }
    }
    Ok((Metric::Entry(map, key), number))
}

enum Value<'a> {
    Fixed(f64),
    Bytes(&'a [u8]),
    /// Of a kind that no field of the message has.
    Other,
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// The next field's number and value; `None` at the end.
    fn field(&mut self) -> Result<Option<(u64, Value<'a>)>, OrcaError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let (number, kind) = (tag >> 3, tag & 7);
        // A tag has 32 bits, and there is no field 0.
        if number == 0 || tag > u64::from(u32::MAX) {
            return Err(OrcaError::Protobuf);
        }
        let value = match kind {
            0 => {
                self.varint()?;
                Value::Other
            }
            1 => {
                let bytes = self.take(8)?;
                let bits = bytes.try_into().map_err(|_| OrcaError::Protobuf)?;
                Value::Fixed(f64::from_le_bytes(bits))
            }
            2 => {
                let size = self.varint()?;
                Value::Bytes(self.take(size)?)
            }
            5 => {
                self.take(4)?;
                Value::Other
            }
            // Groups, which nobody writes any more, and what does not exist.
            _ => return Err(OrcaError::Protobuf),
        };
        Ok(Some((number, value)))
    }

    fn take(&mut self, size: u64) -> Result<&'a [u8], OrcaError> {
        let size = usize::try_from(size).map_err(|_| OrcaError::Protobuf)?;
        let (taken, rest) = (self.0.split_at_checked(size)).ok_or(OrcaError::Protobuf)?;
        self.0 = rest;
        Ok(taken)
    }

    /// At most ten bytes of seven bits each; what does not fit is cut off.
    fn varint(&mut self) -> Result<u64, OrcaError> {
        let mut value = 0u64;
        for place in 0..10 {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(OrcaError::Protobuf)
    }
}
