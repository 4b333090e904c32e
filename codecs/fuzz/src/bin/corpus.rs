//! Packs and unpacks corpora: `corpus unpack PACK DIRECTORY [PREFIX]` writes
//! one file for each input, with the bytes of PREFIX (hexadecimal) before it;
//! `corpus pack DIRECTORY PACK` is the reverse, without a prefix.
//!
//! A pack is a sequence of inputs, each after its length as a little-endian
//! 32-bit number: thousands of tiny files as one.

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["unpack", pack, directory] => unpack(pack, directory, &[]),
        ["unpack", pack, directory, prefix] => unpack(pack, directory, &from_hex(prefix)?),
        ["pack", directory, pack] => self::pack(directory, pack),
        _ => Err(io::Error::other(
            "usage: corpus unpack PACK DIRECTORY [PREFIX] | corpus pack DIRECTORY PACK",
        )),
    }
}

fn unpack(pack: &str, directory: &str, prefix: &[u8]) -> io::Result<()> {
    let bytes = fs::read(pack)?;
    let name = Path::new(pack).file_stem().unwrap_or_default();
    fs::create_dir_all(directory)?;
    let mut rest = &bytes[..];
    let mut number = 0;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let cut_off = || io::Error::other("the pack is cut off");
        let (input, after) = after.split_at_checked(length).ok_or_else(cut_off)?;
        let file = format!("{}-{number:05}", name.to_string_lossy());
        fs::write(Path::new(directory).join(file), [prefix, input].concat())?;
        rest = after;
        number += 1;
    }
    Ok(())
}

fn pack(directory: &str, pack: &str) -> io::Result<()> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(directory)? {
        inputs.push(fs::read(entry?.path())?);
    }
    // Short inputs first, and always the same order.
    inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    inputs.dedup();
    let mut out = Vec::new();
    for input in inputs {
        out.extend_from_slice(&(input.len() as u32).to_le_bytes());
        out.extend_from_slice(&input);
    }
    fs::write(pack, out)
}

fn from_hex(text: &str) -> io::Result<Vec<u8>> {
    (0..text.len())
        .step_by(2)
        .map(|at| text.get(at..at + 2))
        .map(|digits| u8::from_str_radix(digits.unwrap_or_default(), 16).map_err(io::Error::other))
        .collect()
}
