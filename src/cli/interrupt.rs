//! Being asked to end: by Ctrl-C, and on Unix by SIGTERM and SIGHUP, which schedulers, containers and closing terminals
//! send. The first such signal asks the program to stop, the second ends it.

use super::tell;
use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// What the next signal does.
static NEXT: Mutex<Next> = Mutex::new(Next::ByDefault);

enum Next {
    /// What it would do to a program that does not listen.
    ByDefault,
    /// End the program with this message.
    Say(&'static str),
    /// Ask it to stop.
    Stop,
    /// End it. It was asked to stop at that time, and so.
    End(Instant, From),
}

fn next() -> MutexGuard<'static, Next> {
    NEXT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What has to be done before the program ends at once, and how long that may take: a terminal may take no more bytes.
static BEFORE_EXIT: OnceLock<fn()> = OnceLock::new();
const PATIENCE: Duration = Duration::from_secs(1);

/// How a signal came.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(unix), allow(dead_code))] // elsewhere no program sends any
pub enum From {
    /// Somebody pressed Ctrl-C, or q on the dashboard.
    Key,
    /// Another program sent it. Some send it twice: `timeout` to the process and to its group, a shell and the system
    /// when a terminal is closed. What follows within [`Self::TWICE`] is the same wish.
    Program,
}

impl From {
    const TWICE: Duration = Duration::from_secs(1);
}

/// From now on a signal ends the program with `message`: it is at work, but has nothing to keep yet.
pub fn end_saying(message: &'static str) {
    *next() = Next::Say(message);
}

/// From now on the first signal only sets [`interrupted`], and says so; a second ends the program at once.
pub fn catch_interrupts() {
    *next() = Next::Stop;
}

/// From now on `give_back` is called before a second signal ends the program.
pub fn before_exit(give_back: fn()) {
    let _ = BEFORE_EXIT.set(give_back); // there is one dashboard: it is the same function
}

/// Whether the program has been asked to stop.
pub fn interrupted() -> bool {
    matches!(*next(), Next::End(..))
}

/// What a signal does. `by_default` ends the program as if nobody listened.
pub fn interrupt(from: From, by_default: impl FnOnce()) {
    let mut next = next();
    match *next {
        Next::ByDefault => by_default(),
        Next::Say(message) => {
            tell(format_args!("error: {message}"));
            exit();
        }
        Next::Stop => {
            *next = Next::End(Instant::now(), from);
            drop(next);
            tell("Stopping. Ctrl-C again stops at once.");
        }
        Next::End(asked, From::Program) if from == From::Program && asked.elapsed() < From::TWICE => {}
        Next::End(..) => {
            drop(next);
            let (done, wait) = mpsc::channel();
            std::thread::spawn(move || {
                BEFORE_EXIT.get().inspect(|give_back| give_back());
                done.send(())
            });
            let _ = wait.recv_timeout(PATIENCE);
            exit();
        }
    }
}

/// Ends the program at once: without the clean-up of libraries, for which a driver that hangs would make it wait.
fn exit() -> ! {
    #[cfg(unix)]
    signal_hook::low_level::exit(130);
    #[cfg(not(unix))]
    std::process::exit(130);
}

/// Listens for signals from now on. A process 1, as in a container, would not even end by them if nobody did.
#[cfg(unix)]
pub fn listen() -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
    use signal_hook::low_level::emulate_default_handler;

    // So that a file that grows too large is an error and not the end: the flag is for nobody.
    signal_hook::flag::register(SIGXFSZ, std::sync::Arc::default())?;
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    // nohup ignores it, and means it.
    if !is_ignored(SIGHUP) {
        signals.add_signal(SIGHUP)?;
    }
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let from = if signal == SIGINT { From::Key } else { From::Program };
            interrupt(from, || match std::process::id() {
                1 => signal_hook::low_level::exit(128 + signal),
                _ => drop(emulate_default_handler(signal)),
            });
        }
    })?;
    Ok(())
}

#[cfg(not(unix))]
pub fn listen() -> io::Result<()> {
    /// How Windows ends a program by Ctrl-C.
    const STATUS_CONTROL_C_EXIT: u32 = 0xC000_013A;
    let end = || interrupt(From::Key, || std::process::exit(STATUS_CONTROL_C_EXIT as i32));
    ctrlc::set_handler(end).map_err(io::Error::other)
}

#[cfg(unix)]
fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action `sigaction` changes nothing; it writes the present one into `action`, which is valid
    // zeroed. Nothing in the tree asks this safely. tests/cli/interruptions.rs hangs up a run with and without nohup.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}
