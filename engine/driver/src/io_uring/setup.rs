//! Ring creation: the ladder of setup flags, the probe that tries everything the driver needs, and the reasons for
//! failures.
//!
//! Features are always tried at run time on the actual machine. They are never derived from a version number.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

use io_uring::{IoUring, cqueue, opcode, types};
use socket2::SockRef;

use super::buffer_ring::{BUFFER_GROUP, BufferRing};
use super::send_entry::skip_success;
use crate::buffer::BufferPool;

/// The number of submission entries. A turn can start this many operations before the driver has to enter the kernel
/// early.
const SUBMISSION_ENTRIES: u32 = 1024;

/// The number of completion entries.
///
/// Multishot operations complete more often than they are submitted. When this queue is full, the kernel keeps
/// completions in its own memory (`IORING_FEAT_NODROP`) and ends multishots.
const COMPLETION_ENTRIES: u32 = 8 * SUBMISSION_ENTRIES;

const _: () = assert!(COMPLETION_ENTRIES >= 4 * SUBMISSION_ENTRIES);

/// One step of the ladder of setup flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rung {
    /// `IORING_SETUP_NO_SQARRAY`, Linux 6.6: saves one indirection for each submission.
    no_sqarray: bool,
    /// `IORING_SETUP_SINGLE_ISSUER` and `IORING_SETUP_DEFER_TASKRUN`, Linux 6.1: the kernel processes completions in a
    /// batch inside our own `enter`, instead of interrupting this thread. `IORING_SETUP_COOP_TASKRUN` is the second
    /// best.
    defer_taskrun: bool,
    /// One accept operation accepts all connections. Otherwise each accepts one.
    multishot_accept: bool,
}

/// The lowest rung, which works on every kernel that the driver supports.
const PLAINEST: Rung = Rung { no_sqarray: false, defer_taskrun: false, multishot_accept: false };

const LADDER: [Rung; 3] = [
    Rung { no_sqarray: true, defer_taskrun: true, multishot_accept: true },
    Rung { no_sqarray: false, defer_taskrun: true, multishot_accept: true },
    PLAINEST,
];

/// The reason why io_uring cannot be used here. Its `Display` is one line for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The sysctl `kernel.io_uring_disabled` forbids it. The field is the sysctl's value.
    Sysctl(u32),
    /// The sysctl allows the system call, but it is refused: by a seccomp filter, as in most containers. The field is
    /// the error number.
    Seccomp(i32),
    /// The kernel has no io_uring.
    Missing,
    /// The kernel is too old for something that the driver needs. Linux 6.1 has everything.
    OldKernel {
        /// What the kernel lacks.
        what: &'static str,
    },
    /// The ring would exceed the limit of locked memory (`RLIMIT_MEMLOCK`).
    ///
    /// All rings of a user count together, across processes. Some kernels do not count them at all. They never count
    /// for a process with `CAP_IPC_LOCK`.
    LockedMemory,
    /// A step failed with any other error.
    Failed {
        /// The step that failed.
        step: &'static str,
        /// The error number.
        errno: i32,
    },
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sysctl(value) => write!(f, "the sysctl kernel.io_uring_disabled is {value}"),
            Self::Seccomp(errno) => write!(
                f,
                "io_uring_setup is refused ({}), probably by a container's seccomp filter",
                io::Error::from_raw_os_error(*errno)
            ),
            Self::Missing => f.write_str("this kernel has no io_uring"),
            Self::OldKernel { what } => write!(f, "this kernel lacks {what}; Linux 6.1 or later has it"),
            Self::LockedMemory => f.write_str("the limit of locked memory (ulimit -l) is too low for a ring"),
            Self::Failed { step, errno } => {
                write!(f, "{step} failed: {}", io::Error::from_raw_os_error(*errno))
            }
        }
    }
}

impl std::error::Error for Unusable {}

impl Unusable {
    pub(super) fn failed(step: &'static str, error: &io::Error) -> Self {
        Self::Failed { step, errno: error.raw_os_error().unwrap_or(0) }
    }
}

/// Checks whether this process can use io_uring, by using it.
///
/// The result is cached, except for errors that may pass. The check uses a small ring. The ring of a driver may still
/// be refused, for example for lack of locked memory or descriptors; [`IoUring::new`](super::IoUring::new) then returns
/// an error.
///
/// # Errors
/// The reason why io_uring cannot be used.
pub fn probe() -> Result<(), Unusable> {
    usable_rung().map(|_| ())
}

fn usable_rung() -> Result<Rung, Unusable> {
    static RUNG: OnceLock<Result<Rung, Unusable>> = OnceLock::new();
    if let Some(known) = RUNG.get() {
        return known.clone();
    }
    let found = climb();
    // A temporary shortage does not predict the next attempt.
    if matches!(found, Err(Unusable::Failed { .. } | Unusable::LockedMemory)) {
        return found;
    }
    RUNG.get_or_init(|| found).clone()
}

fn climb() -> Result<Rung, Unusable> {
    let mut reason = Unusable::Missing;
    for rung in LADDER {
        match rung.build(8, 32).map_err(|error| explain_setup(&error)).and_then(try_what_is_needed) {
            Ok(()) => return Ok(rung),
            Err(error) => reason = error,
        }
    }
    Err(reason)
}

/// Creates a ring on the best rung that works here. It belongs to the calling thread (`IORING_SETUP_SINGLE_ISSUER`).
pub(super) fn build() -> Result<Built, Unusable> {
    build_with(SUBMISSION_ENTRIES, COMPLETION_ENTRIES)
}

/// Like [`build`], with these numbers of entries.
pub(super) fn build_with(submission_entries: u32, completion_entries: u32) -> Result<Built, Unusable> {
    usable_rung()?.build_whole(submission_entries, completion_entries)
}

/// Creates a ring on the lowest rung, even if a higher one works here.
pub(super) fn build_plainest() -> Result<Built, Unusable> {
    PLAINEST.build_whole(SUBMISSION_ENTRIES, COMPLETION_ENTRIES)
}

/// A ring, and the kernel features that it uses.
pub(super) struct Built {
    pub(super) ring: IoUring,
    pub(super) features: Vec<&'static str>,
    pub(super) multishot_accept: bool,
}

impl Rung {
    fn build_whole(self, submission_entries: u32, completion_entries: u32) -> Result<Built, Unusable> {
        let ring =
            self.build(submission_entries, completion_entries).map_err(|error| explain_setup(&error))?;
        let mut features = vec!["multishot_receive", "buffer_ring"];
        for (used, name) in [
            (self.multishot_accept, "multishot_accept"),
            (self.defer_taskrun, "defer_taskrun"),
            (self.no_sqarray, "no_sqarray"),
        ] {
            if used {
                features.push(name);
            }
        }
        Ok(Built { ring, features, multishot_accept: self.multishot_accept })
    }

    fn build(self, submission_entries: u32, completion_entries: u32) -> io::Result<IoUring> {
        let mut builder = IoUring::builder();
        builder.dontfork().setup_clamp().setup_submit_all().setup_cqsize(completion_entries);
        builder.setup_coop_taskrun().setup_taskrun_flag();
        if self.defer_taskrun {
            builder.setup_single_issuer().setup_defer_taskrun();
        }
        if self.no_sqarray {
            builder.setup_no_sqarray();
        }
        builder.build(submission_entries)
    }
}

fn explain_setup(error: &io::Error) -> Unusable {
    explain_errno(error.raw_os_error().unwrap_or(0), disabled_sysctl())
}

fn explain_errno(errno: i32, disabled: Option<u32>) -> Unusable {
    match errno {
        libc::EPERM | libc::ENOSYS => match disabled {
            Some(value) if value > 0 && errno == libc::EPERM => Unusable::Sysctl(value),
            // The sysctl file exists, so the kernel has io_uring. Something else refused the call.
            Some(_) => Unusable::Seccomp(errno),
            None if errno == libc::EPERM => Unusable::Seccomp(errno),
            None => Unusable::Missing,
        },
        libc::EINVAL => Unusable::OldKernel { what: "required flags of io_uring_setup" },
        libc::ENOMEM => Unusable::LockedMemory,
        _ => Unusable::Failed { step: "io_uring_setup", errno },
    }
}

/// Returns the reason for a failed registration. The kernel counts the pages of a buffer ring like those of the ring.
pub(super) fn explain_registration(error: &io::Error) -> Unusable {
    match error.raw_os_error() {
        Some(libc::ENOMEM) => Unusable::LockedMemory,
        _ => Unusable::failed("registering a buffer ring", error),
    }
}

fn disabled_sysctl() -> Option<u32> {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

static TRIAL_BYTE: u8 = 1;

/// Tries everything that the driver needs: a multishot receive into a buffer ring, a skip-success send of one byte to
/// that receive, and another skip-success send on a socket without room.
fn try_what_is_needed(mut ring: IoUring) -> Result<(), Unusable> {
    let failed = |step| move |error: io::Error| Unusable::failed(step, &error);
    let parameters = ring.params();
    for (present, what) in [
        (parameters.is_feature_nodrop(), "IORING_FEAT_NODROP"),
        (parameters.is_feature_submit_stable(), "IORING_FEAT_SUBMIT_STABLE"),
        (parameters.is_feature_fast_poll(), "IORING_FEAT_FAST_POLL"),
        (parameters.is_feature_ext_arg(), "IORING_FEAT_EXT_ARG"),
        (parameters.is_feature_skip_cqe_on_success(), "IORING_FEAT_CQE_SKIP"),
    ] {
        if !present {
            return Err(Unusable::OldKernel { what });
        }
    }
    let pool = BufferPool::with_sizes(1, 64);
    let buffers =
        BufferRing::register(&ring.submitter(), &pool).map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => Unusable::OldKernel { what: "provided-buffer rings" },
            _ => explain_registration(&error),
        })?;
    let (one, other) = std::os::unix::net::UnixStream::pair().map_err(failed("socketpair"))?;

    let receive = opcode::RecvMulti::new(types::Fd(one.as_raw_fd()), BUFFER_GROUP).build().user_data(1);
    let send =
        skip_success(opcode::Send::new(types::Fd(other.as_raw_fd()), &raw const TRIAL_BYTE, 1)).user_data(2);
    // SAFETY: the byte is static. The receive writes only into the pool, which outlives the ring (dropped below). Both
    // descriptors stay open until after the wait.
    unsafe { ring.submission().push_multiple(&[receive, send]) }.expect("the queue is empty");
    let timeout = types::Timespec::new().sec(2);
    let arguments = types::SubmitArgs::new().timespec(&timeout);
    let entered = ring.submitter().submit_with_args(1, &arguments);
    let completion = ring.completion().next();
    // The kernel ends the receive some time after the ring is gone. So a few hundred bytes of buffer are leaked instead
    // of freed, usually once per process.
    drop((one, other));
    let outcome = match (entered, completion) {
        (_, Some(entry)) if entry.user_data() == 1 && entry.result() == 1 && cqueue::more(entry.flags()) => {
            Ok(())
        }
        (_, Some(entry)) if entry.user_data() == 1 && entry.result() == -libc::EINVAL => {
            Err(Unusable::OldKernel { what: "multishot receive" })
        }
        (_, Some(entry)) => Err(Unusable::Failed { step: "a trial receive", errno: -entry.result().min(0) }),
        (Err(error), None) => Err(failed("a trial receive")(error)),
        (Ok(_), None) => Err(Unusable::Failed { step: "a trial receive", errno: libc::ETIME }),
    };
    let outcome = outcome.and_then(|()| try_a_send_without_room(&mut ring));
    drop(ring);
    std::mem::forget((buffers, pool));
    outcome
}

/// Checks that the kernel does not keep a skip-success send until there is room. Otherwise, later operations on the
/// socket would overtake it.
fn try_a_send_without_room(ring: &mut IoUring) -> Result<(), Unusable> {
    let failed = |step| move |error: io::Error| Unusable::failed(step, &error);
    let (full, _peer) = std::os::unix::net::UnixStream::pair().map_err(failed("socketpair"))?;
    let socket = SockRef::from(&full);
    socket.set_send_buffer_size(1).map_err(failed("SO_SNDBUF"))?;
    while socket.send_with_flags(&[0; 4096], libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL).is_ok() {}
    let send =
        skip_success(opcode::Send::new(types::Fd(full.as_raw_fd()), &raw const TRIAL_BYTE, 1)).user_data(3);
    // SAFETY: the byte is static, and the descriptor stays open until after the wait.
    unsafe { ring.submission().push(&send) }.expect("the queue is empty");
    let timeout = types::Timespec::new().sec(2);
    let arguments = types::SubmitArgs::new().timespec(&timeout);
    let entered = ring.submitter().submit_with_args(1, &arguments);
    // The queue also contains a completion of the previous trial's receive, which has reached the end of its stream.
    let completion = ring.completion().find(|entry| entry.user_data() == 3);
    match (entered, completion) {
        (_, Some(entry)) if entry.result() == -libc::EAGAIN => Ok(()),
        (Err(error), None) if error.raw_os_error() != Some(libc::ETIME) => Err(failed("a trial send")(error)),
        _ => Err(Unusable::OldKernel { what: "sends that never wait" }),
    }
}

#[cfg(test)]
mod tests {
    use io_uring::register::Restriction;

    use super::*;

    /// `IORING_REGISTER_PBUF_RING` (`io_uring.h`).
    const REGISTER_BUFFER_RING: u8 = 22;

    #[test]
    fn a_refusal_is_explained() {
        let old = Unusable::OldKernel { what: "required flags of io_uring_setup" };
        let failed = Unusable::Failed { step: "io_uring_setup", errno: libc::EMFILE };
        for (errno, sysctl, expected) in [
            (libc::EPERM, Some(2), Unusable::Sysctl(2)),
            (libc::EPERM, Some(1), Unusable::Sysctl(1)),
            (libc::EPERM, Some(0), Unusable::Seccomp(libc::EPERM)),
            (libc::EPERM, None, Unusable::Seccomp(libc::EPERM)),
            (libc::ENOSYS, Some(0), Unusable::Seccomp(libc::ENOSYS)),
            (libc::ENOSYS, Some(2), Unusable::Seccomp(libc::ENOSYS)),
            (libc::ENOSYS, None, Unusable::Missing),
            (libc::EINVAL, Some(0), old),
            (libc::ENOMEM, Some(0), Unusable::LockedMemory),
            (libc::EMFILE, Some(0), failed),
        ] {
            assert_eq!(explain_errno(errno, sysctl), expected, "{errno} {sysctl:?}");
        }
        let registration = |errno| explain_registration(&io::Error::from_raw_os_error(errno));
        assert_eq!(registration(libc::ENOMEM), Unusable::LockedMemory);
        assert_eq!(
            registration(libc::EMFILE),
            Unusable::Failed { step: "registering a buffer ring", errno: libc::EMFILE }
        );
    }

    #[test]
    fn a_reason_is_one_line_that_says_what_to_look_at() {
        for (reason, says) in [
            (Unusable::Sysctl(2), "kernel.io_uring_disabled is 2"),
            (
                Unusable::Seccomp(libc::EPERM),
                "(Operation not permitted (os error 1)), probably by a container",
            ),
            (Unusable::Missing, "no io_uring"),
            (Unusable::OldKernel { what: "a thing" }, "lacks a thing; Linux 6.1"),
            (Unusable::LockedMemory, "ulimit -l"),
            (Unusable::Failed { step: "a step", errno: libc::EMFILE }, "a step failed: Too many open files"),
        ] {
            let text = reason.to_string();
            assert!(text.contains(says) && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn the_sysctl_is_read() {
        let text = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
        assert_eq!(disabled_sysctl().map(|value| value.to_string()), text.map(|it| it.trim().to_owned()));
    }

    /// A ring that refuses all but these registrations, and every operation; and everything unless it is `enabled`.
    fn restricted_ring(registrations: &[u8], enabled: bool) -> IoUring {
        let ring = IoUring::builder().setup_r_disabled().build(8).expect("io_uring can be used");
        let mut restrictions: Vec<_> = registrations.iter().map(|&it| Restriction::register_op(it)).collect();
        if enabled {
            restrictions.push(Restriction::sqe_op(opcode::Nop::CODE));
            ring.submitter().register_restrictions(&mut restrictions).expect("not enabled yet");
            ring.submitter().register_enable_rings().expect("not enabled yet");
        }
        ring
    }

    #[test]
    fn what_is_refused_is_found_out() {
        if probe().is_err() {
            return; // The contract suite says so.
        }
        let failed = |step, errno| Err(Unusable::Failed { step, errno });
        assert_eq!(
            try_what_is_needed(restricted_ring(&[], true)),
            failed("registering a buffer ring", libc::EACCES)
        );
        assert_eq!(
            try_what_is_needed(restricted_ring(&[REGISTER_BUFFER_RING], true)),
            failed("a trial receive", libc::EACCES)
        );
        assert_eq!(
            try_what_is_needed(restricted_ring(&[], false)),
            failed("a trial receive", libc::EBADFD),
            "it cannot be entered"
        );
        assert_eq!(
            try_a_send_without_room(&mut restricted_ring(&[], true)),
            Err(Unusable::OldKernel { what: "sends that never wait" })
        );
        assert_eq!(
            try_a_send_without_room(&mut restricted_ring(&[], false)),
            failed("a trial send", libc::EBADFD)
        );
    }
}
