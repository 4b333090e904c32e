//! The io_uring driver.
//!
//! `SINGLE_ISSUER | DEFER_TASKRUN` lets the kernel do its work when we enter it, instead of by
//! interrupting us; `SUBMIT_ALL` keeps one bad entry from holding the others back. Entering
//! happens once a turn, in `wait`, unless the submission queue runs full before.

use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

use io_uring::{IoUring, Probe, cqueue, opcode, squeue, types};

use super::super::Options;
use super::super::buffer::Pool;
use super::super::send_queue::Gather;
use super::{Event, Operation};

/// The buffer group of the only provided-buffer ring.
const BUFFER_GROUP: u16 = 0;
/// Room for the slot below the operation in `user_data`.
const OPERATION_SHIFT: u32 = 32;

#[derive(Debug)]
pub(in super::super) struct Uring {
    ring: Ring,
    pool: Rc<Pool>,
    wake: RawFd,
    /// Where the kernel puts the eventfd's count. A box, so that it stays put.
    wake_count: Box<u64>,
    waking: bool,
    stopping: bool,
    min_wait_us: Option<u32>,
    submissions: u64,
}

/// `IoUring` has no `Debug` of its own.
struct Ring(IoUring);

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ring")
    }
}

impl Uring {
    pub(super) fn open(options: &Options, pool: Rc<Pool>, wake: RawFd) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(options.completion_entries.max(options.ring_entries))
            .dontfork()
            .build(options.ring_entries)
            .map_err(|error| explain("io_uring_setup", &error))?;
        probe(&ring)?;
        let address = pool
            .ring_address()
            .expect("the pool was made with a ring for this driver");
        // SAFETY: the pool maps `count` entries at the address and keeps them mapped at least as
        // long as `self.pool`, which is dropped after `self.ring` (fields drop in order).
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(address, pool.count(), BUFFER_GROUP, 0)
        }
        .map_err(|error| explain("registering receive buffers", &error))?;
        let min_wait_us = options
            .min_wait
            .filter(|_| ring.params().is_feature_min_timeout())
            .map(|wait| u32::try_from(wait.as_micros()).unwrap_or(u32::MAX));
        let mut uring = Uring {
            ring: Ring(ring),
            pool,
            wake,
            wake_count: Box::new(0),
            waking: false,
            stopping: false,
            min_wait_us,
            submissions: 0,
        };
        uring.try_receive()?;
        Ok(uring)
    }

    /// A trial of what no probe reports: multishot receive with provided buffers.
    fn try_receive(&mut self) -> io::Result<()> {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
        io::Write::write_all(&mut theirs, b"?")?;
        drop(theirs);
        let fd = std::os::fd::AsRawFd::as_raw_fd(&ours);
        self.push(&opcode::RecvMulti::new(types::Fd(fd), BUFFER_GROUP).build());
        let mut events = Vec::new();
        let mut received = false;
        // One byte and the end of the stream are there already; every wait yields at least one.
        for _ in 0..3 {
            self.enter(Some(Duration::from_secs(1)))?;
            self.reap(&mut events);
            for event in events.drain(..) {
                if let Some(buffer) = event.buffer {
                    received |= event.result == 1;
                    self.pool.put_back(buffer);
                }
                if !event.more && received {
                    return Ok(());
                }
                if event.result < 0 {
                    let error = io::Error::from_raw_os_error(-event.result);
                    return Err(explain("multishot receive", &error));
                }
            }
        }
        Err(io::Error::other(
            "io_uring: multishot receive does not work",
        ))
    }

    pub(super) fn receive(&mut self, slot: u32, fd: RawFd) {
        self.start(
            Operation::Receive,
            slot,
            opcode::RecvMulti::new(types::Fd(fd), BUFFER_GROUP).build(),
        );
    }

    pub(super) fn send(&mut self, slot: u32, fd: RawFd, gather: Gather) {
        // With MSG_WAITALL the kernel continues a short send by itself.
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let entry = match gather {
            Gather::One { start, bytes } => opcode::Send::new(types::Fd(fd), start, bytes as u32)
                .flags(flags)
                .build(),
            Gather::Many(message) => opcode::SendMsg::new(types::Fd(fd), message)
                .flags(flags as u32)
                .build(),
        };
        self.start(Operation::Send, slot, entry);
    }

    pub(super) fn connect(&mut self, slot: u32, fd: RawFd, address: &socket2::SockAddr) {
        let entry = opcode::Connect::new(types::Fd(fd), address.as_ptr().cast(), address.len());
        self.start(Operation::Connect, slot, entry.build());
    }

    pub(super) fn watch_hang_up(&mut self, slot: u32, fd: RawFd) {
        let entry = opcode::PollAdd::new(types::Fd(fd), libc::POLLRDHUP as u32);
        self.start(Operation::HangUp, slot, entry.build());
    }

    pub(super) fn watch_readable(&mut self, slot: u32, fd: RawFd) {
        let entry = opcode::PollAdd::new(types::Fd(fd), libc::POLLIN as u32);
        self.start(Operation::Readable, slot, entry.build());
    }

    pub(super) fn watch_writable(&mut self, slot: u32, fd: RawFd) {
        let entry = opcode::PollAdd::new(types::Fd(fd), libc::POLLOUT as u32);
        self.start(Operation::Writable, slot, entry.build());
    }

    pub(super) fn accept(&mut self, slot: u32, fd: RawFd) {
        let entry = opcode::AcceptMulti::new(types::Fd(fd)).flags(libc::SOCK_CLOEXEC);
        self.start(Operation::Accept, slot, entry.build());
    }

    pub(super) fn cancel(&mut self, of: Operation, slot: u32) {
        let report = match of {
            Operation::Accept => Operation::CancelAccept,
            _ => Operation::Cancel,
        };
        let entry = opcode::AsyncCancel::new(user_data(of, slot));
        self.start(report, slot, entry.build());
    }

    pub(super) fn close(&mut self, slot: u32, fd: RawFd) {
        let entry = opcode::Close::new(types::Fd(fd));
        self.start(Operation::Close, slot, entry.build());
    }

    pub(super) fn stop_watching_wake(&mut self) {
        self.stopping = true;
    }

    pub(super) fn is_watching_wake(&self) -> bool {
        self.waking
    }

    pub(super) fn submissions(&self) -> u64 {
        self.submissions
    }

    pub(super) fn wait(
        &mut self,
        timeout: Option<Duration>,
        events: &mut Vec<Event>,
    ) -> io::Result<()> {
        if !self.waking && !self.stopping {
            self.waking = true;
            let target: *mut u64 = &raw mut *self.wake_count;
            let entry = opcode::Read::new(types::Fd(self.wake), target.cast(), 8).build();
            self.start(Operation::Wake, 0, entry);
        }
        self.enter(timeout)?;
        self.reap(events);
        Ok(())
    }

    fn start(&mut self, operation: Operation, slot: u32, entry: squeue::Entry) {
        self.push(&entry.user_data(user_data(operation, slot)));
    }

    fn push(&mut self, entry: &squeue::Entry) {
        self.submissions += 1;
        // SAFETY: what an entry points to (send queue, socket address, the wake count, receive
        // buffers) is kept by the socket's slot, by `self` or by the pool until the operation's
        // last event, also when its stream is gone; dropping the reactor waits for all of them.
        while unsafe { self.ring.0.submission().push(entry) }.is_err() {
            // Full: hand over what is there. An error here (completion queue over its limit) is
            // met again by `wait`, which reaps; with SUBMIT_ALL there is room afterwards.
            if self.ring.0.submit().is_err() {
                std::thread::yield_now();
            }
        }
    }

    fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let ready = !self.ring.0.completion().is_empty();
        let want = usize::from(!ready && timeout != Some(Duration::ZERO));
        let submitter = self.ring.0.submitter();
        let result = match (timeout, self.min_wait_us) {
            (_, _) if want == 0 => submitter.submit(),
            (None, None) => submitter.submit_and_wait(want),
            (timeout, min_wait_us) => {
                // The minimum wait needs an outer one; a minute is as good as for ever.
                let limit = types::Timespec::from(timeout.unwrap_or(Duration::from_secs(60)));
                let mut arguments = types::SubmitArgs::new().timespec(&limit);
                let mut want = want;
                if let Some(us) = min_wait_us {
                    arguments = arguments.min_wait_usec(us);
                    want = MIN_WAIT_EVENTS;
                }
                submitter.submit_with_args(want, &arguments)
            }
        };
        match result {
            Err(error) if !is_passing(&error) => Err(error),
            _ => Ok(()),
        }
    }

    fn reap(&mut self, events: &mut Vec<Event>) {
        for completion in self.ring.0.completion() {
            let data = completion.user_data();
            let Some(operation) = operation_of(data) else {
                continue;
            };
            let event = Event {
                operation,
                slot: data as u32,
                result: completion.result(),
                buffer: cqueue::buffer_select(completion.flags()),
                more: cqueue::more(completion.flags()),
            };
            if operation == Operation::Wake {
                self.waking = false;
            }
            events.push(event);
        }
    }
}

/// With a minimum wait, sleeping ends early only when this many events are there.
const MIN_WAIT_EVENTS: usize = 32;

fn user_data(operation: Operation, slot: u32) -> u64 {
    (operation as u64) << OPERATION_SHIFT | u64::from(slot)
}

fn operation_of(user_data: u64) -> Option<Operation> {
    const ALL: [Operation; 11] = [
        Operation::Receive,
        Operation::Send,
        Operation::Connect,
        Operation::HangUp,
        Operation::Readable,
        Operation::Writable,
        Operation::Close,
        Operation::Cancel,
        Operation::Accept,
        Operation::CancelAccept,
        Operation::Wake,
    ];
    ALL.get((user_data >> OPERATION_SHIFT) as usize).copied()
}

/// Time passed, a signal came, or the kernel wants us to reap first.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
    )
}

fn probe(ring: &IoUring) -> io::Result<()> {
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|error| explain("probing", &error))?;
    let needed = [
        ("recv", opcode::Recv::CODE),
        ("send", opcode::Send::CODE),
        ("sendmsg", opcode::SendMsg::CODE),
        ("accept", opcode::Accept::CODE),
        ("connect", opcode::Connect::CODE),
        ("close", opcode::Close::CODE),
        ("read", opcode::Read::CODE),
        ("poll", opcode::PollAdd::CODE),
        ("cancel", opcode::AsyncCancel::CODE),
    ];
    for (name, code) in needed {
        if !probe.is_supported(code) {
            let reason = format!("io_uring: this kernel has no {name} operation");
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
    }
    if !ring.params().is_feature_ext_arg() || !ring.params().is_feature_nodrop() {
        let reason = "io_uring: this kernel has no timed waiting or drops completions";
        return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
    }
    Ok(())
}

fn explain(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("io_uring: {what}: {error}"))
}
