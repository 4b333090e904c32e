//! Pipes: where the kernel keeps bytes on their way from one socket to another.
//!
//! A pipe is lent to a splice while there are bytes in it and comes back empty, so that their
//! number is that of the directions whose reader is slow, and idle connections own none.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Room that is asked for. The kernel counts pieces, not bytes: a page each, of which a small
/// segment takes a whole one. A user without privileges has 64 MiB for all pipes; beyond that
/// they are smaller, and move less at a time.
const PIPE_BYTES: i32 = 1024 * 1024;
/// Pipes lent at once: two descriptors each, and as many slow readers as are likely. Who gets
/// none copies.
const PIPES_MAX: u32 = 256;
/// Empty pipes kept for the next one.
const SPARES_MAX: usize = 16;

/// A pipe that bytes go into from a socket, and out of to another one.
#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    bytes: usize,
}

impl Pipe {
    fn open() -> io::Result<Self> {
        let mut ends = [-1; 2];
        // SAFETY: the call writes two descriptors into the array; they are owned once, here.
        let (read, write) = unsafe {
            if libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) < 0 {
                return Err(io::Error::last_os_error());
            }
            (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
        };
        // SAFETY: a plain system call on a descriptor of ours. A pipe that stays small works.
        unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETPIPE_SZ, PIPE_BYTES) };
        Ok(Self {
            read,
            write,
            bytes: 0,
        })
    }

    /// Bytes in it.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Moves at most `bytes_max` bytes out of a socket. `EAGAIN` is an empty socket or a full pipe; 0
    /// is the end, or data that cannot be spliced in front of it.
    pub(super) fn fill(&mut self, socket: RawFd, bytes_max: usize) -> Result<usize, i32> {
        let moved = splice(socket, self.write.as_raw_fd(), bytes_max)?;
        self.bytes += moved;
        Ok(moved)
    }

    /// Moves what is there into a socket, as far as it takes it.
    pub(super) fn drain(&mut self, socket: RawFd) -> Result<usize, i32> {
        let moved = splice(self.read.as_raw_fd(), socket, self.bytes)?;
        self.bytes -= moved;
        Ok(moved)
    }

    /// Takes out what is there.
    fn read_out(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; self.bytes];
        let mut done = 0;
        while done < bytes.len() {
            let rest = &mut bytes[done..];
            // SAFETY: the call writes at most as many bytes as `rest` has.
            let read =
                unsafe { libc::read(self.read.as_raw_fd(), rest.as_mut_ptr().cast(), rest.len()) };
            match usize::try_from(read) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(_) if last_errno() == libc::EINTR => {}
                Err(_) => break,
            }
        }
        debug_assert_eq!(done, bytes.len(), "a pipe has what was put into it");
        bytes.truncate(done);
        self.bytes = 0;
        bytes
    }
}

/// The pipes of a reactor.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    spares: Vec<Pipe>,
    lent: u32,
    /// Splices that may ask for one.
    users: u32,
}

impl Pipes {
    /// A splice begins.
    pub(super) fn add_user(&mut self) {
        self.users += 1;
    }

    /// A splice ends; with the last one go the pipes that were kept.
    pub(super) fn remove_user(&mut self) {
        self.users -= 1;
        if self.users == 0 {
            self.spares = Vec::new();
        }
    }

    /// An empty pipe, if there may be one more.
    pub(super) fn take(&mut self) -> Option<Pipe> {
        if self.lent >= PIPES_MAX {
            return None;
        }
        let pipe = match self.spares.pop() {
            Some(pipe) => pipe,
            None => Pipe::open().ok()?,
        };
        self.lent += 1;
        Some(pipe)
    }

    /// Takes an empty pipe back.
    pub(super) fn put_back(&mut self, pipe: Pipe) {
        debug_assert_eq!(pipe.bytes, 0, "what is in a pipe is lost");
        self.lent -= 1;
        if self.spares.len() < SPARES_MAX {
            self.spares.push(pipe);
        }
    }

    /// Takes a pipe back that may have bytes, which come out.
    pub(super) fn empty(&mut self, mut pipe: Pipe) -> Vec<u8> {
        let bytes = pipe.read_out();
        self.put_back(pipe);
        bytes
    }
}

/// Moves bytes between a socket and a pipe, or the other way round.
fn splice(from: RawFd, to: RawFd, bytes_max: usize) -> Result<usize, i32> {
    loop {
        // SAFETY: without offsets the call touches no memory of ours; it checks the descriptors.
        let moved = unsafe {
            libc::splice(
                from,
                std::ptr::null_mut(),
                to,
                std::ptr::null_mut(),
                bytes_max,
                libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK,
            )
        };
        match usize::try_from(moved) {
            Ok(moved) => return Ok(moved),
            Err(_) => match last_errno() {
                libc::EINTR => {}
                errno => return Err(errno),
            },
        }
    }
}

fn last_errno() -> i32 {
    io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn bytes_go_through_in_order_and_what_is_left_comes_out() {
        let (mut writer, from) = UnixStream::pair().unwrap();
        let (to, mut reader) = UnixStream::pair().unwrap();
        from.set_nonblocking(true).unwrap();
        let mut pipes = Pipes::default();
        let mut pipe = pipes.take().unwrap();
        assert_eq!(pipe.fill(from.as_raw_fd(), 10), Err(libc::EAGAIN));
        writer.write_all(b"0123456789").unwrap();
        assert_eq!(pipe.fill(from.as_raw_fd(), 6), Ok(6));
        assert_eq!(pipe.drain(to.as_raw_fd()), Ok(6));
        assert_eq!(pipe.fill(from.as_raw_fd(), 6), Ok(4));
        let mut got = [0; 6];
        reader.read_exact(&mut got).unwrap();
        assert_eq!((&got, pipe.bytes()), (b"012345", 4));
        drop(writer);
        assert_eq!(pipe.fill(from.as_raw_fd(), 6), Ok(0));
        assert_eq!(pipes.empty(pipe), b"6789");
    }

    #[test]
    fn few_are_kept_and_none_without_users() {
        let mut pipes = Pipes::default();
        pipes.add_user();
        pipes.add_user();
        let lent: Vec<_> = (0..SPARES_MAX + 4).map(|_| pipes.take().unwrap()).collect();
        for pipe in lent {
            pipes.put_back(pipe);
        }
        assert_eq!((pipes.spares.len(), pipes.lent), (SPARES_MAX, 0));
        pipes.remove_user();
        assert_eq!(pipes.spares.len(), SPARES_MAX);
        pipes.remove_user();
        assert_eq!(pipes.spares.len(), 0);
    }

    #[test]
    fn there_is_a_limit() {
        let mut pipes = Pipes {
            lent: PIPES_MAX - 1,
            ..Pipes::default()
        };
        let last = pipes.take().unwrap();
        assert!(pipes.take().is_none());
        pipes.put_back(last);
        assert!(pipes.take().is_some());
    }
}
