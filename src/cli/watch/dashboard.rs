//! `--tui`: a dashboard that has the whole terminal while a run lasts. Here are the terminal, the keys and the signals;
//! `screen` draws.
//!
//! The training loop tells its progress about ten times a second. The dashboard draws and listens for keys then, and
//! needs no thread of its own. What is printed meanwhile is kept, and appears when the terminal is given back.

use super::screen::{Run, Screen};
use crate::cli::clock::clock;
use crate::cli::interrupt::{before_exit, interrupt, interrupted};
use crate::cli::output::{self, StdoutError, release};
use mnist_wgpu::history::Row;
use mnist_wgpu::train::Progress;
use ratatui_core::terminal::Terminal;
use ratatui_crossterm::CrosstermBackend;
use ratatui_crossterm::crossterm::cursor::Show;
use ratatui_crossterm::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui_crossterm::crossterm::execute;
use ratatui_crossterm::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whether the terminal is the dashboard's.
static UP: AtomicBool = AtomicBool::new(false);

#[derive(Debug, thiserror::Error)]
#[error("cannot draw on this terminal: {0}; leave --tui out to get plain lines")]
pub struct DashboardError(io::Error);

pub struct Dashboard {
    terminal: Terminal<CrosstermBackend<io::Stdout>>,
    screen: Screen,
    drawn: Option<Duration>,
    #[cfg(unix)]
    signals: signals::Signals,
}

impl Dashboard {
    /// A fast GPU has more to tell than anyone can see.
    const EVERY: Duration = Duration::from_millis(80);

    /// Takes the terminal, and draws `run` as it stands before its first batch.
    pub fn new(run: Run) -> Result<Self, DashboardError> {
        #[cfg(unix)]
        let signals = signals::Signals::catch().map_err(DashboardError)?;
        UP.store(true, Ordering::SeqCst);
        let terminal = take().map_err(|error| {
            let _ = give_back();
            DashboardError(error)
        })?;
        before_exit(|| drop(give_back()));
        output::hold();
        let screen = Screen::new(run, output::colour());
        let mut dashboard = Self {
            terminal,
            screen,
            drawn: None,
            #[cfg(unix)]
            signals,
        };
        dashboard.draw();
        Ok(dashboard)
    }

    pub fn show(&mut self, progress: &Progress) {
        let now = clock();
        self.screen.progress(progress, now);
        self.listen();
        if self.drawn.is_none_or(|drawn| now >= drawn + Self::EVERY) {
            self.draw();
        }
    }

    pub fn epoch(&mut self, row: &Row) {
        self.screen.epoch(row);
        self.draw();
    }

    /// Gives the terminal back, and writes what waited for that.
    pub fn finish(self) -> Result<(), StdoutError> {
        give_back()
    }

    fn draw(&mut self) {
        self.drawn = Some(clock());
        self.screen.stopping = interrupted();
        self.screen.messages = output::held_lines(3);
        // A terminal that has gone is no reason to stop training.
        let _ = self.terminal.draw(|frame| self.screen.draw(frame));
    }

    /// Acts on the keys pressed since the last time.
    fn listen(&mut self) {
        #[cfg(unix)]
        if self.signals.asked_to_end() {
            interrupt();
        }
        while let Ok(true) = event::poll(Duration::ZERO) {
            match event::read() {
                Ok(Event::Key(key)) if stops(&key) => {
                    interrupt();
                    self.draw();
                }
                Ok(Event::Resize(..)) => self.draw(),
                Ok(_) => {}
                Err(_) => break,
            }
        }
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        let _ = give_back();
    }
}

/// Whether `key` is q, or Ctrl-C, which in raw mode arrives as a key.
fn stops(key: &KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && match key.code {
            KeyCode::Char('c') => control,
            KeyCode::Char('q' | 'Q') => !control,
            _ => false,
        }
}

/// Takes the terminal, and sees to it that a panic is told after it was given back.
fn take() -> io::Result<Terminal<CrosstermBackend<io::Stdout>>> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let _ = give_back();
        hook(panic);
    }));
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen)?;
    Terminal::new(CrosstermBackend::new(io::stdout()))
}

/// Gives the terminal back, if the dashboard has it.
fn give_back() -> Result<(), StdoutError> {
    if UP.swap(false, Ordering::SeqCst) {
        let _ = disable_raw_mode();
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        return release();
    }
    Ok(())
}

/// Being told to end, which must not leave the terminal as the dashboard has it.
#[cfg(unix)]
mod signals {
    use super::UP;
    use signal_hook::consts::{SIGHUP, SIGTERM};
    use signal_hook::flag;
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// While the dashboard is up, a signal only sets a flag, and ends the program if nobody has looked at the flag when
    /// it comes again; afterwards it does again what it does by default.
    pub struct Signals {
        asked: Arc<AtomicBool>,
        by_default: Arc<AtomicBool>,
    }

    impl Signals {
        pub fn catch() -> io::Result<Self> {
            let signals = Self { asked: Arc::default(), by_default: Arc::default() };
            for signal in [SIGTERM, SIGHUP] {
                flag::register_conditional_default(signal, signals.by_default.clone())?;
                flag::register_conditional_shutdown(signal, 130, signals.asked.clone())?;
                flag::register(signal, signals.asked.clone())?;
            }
            Ok(signals)
        }

        /// Whether a signal came since the last call.
        pub fn asked_to_end(&self) -> bool {
            self.asked.swap(false, Ordering::SeqCst)
        }
    }

    impl Drop for Signals {
        fn drop(&mut self) {
            debug_assert!(!UP.load(Ordering::SeqCst), "the terminal is given back first");
            self.by_default.store(true, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_and_ctrl_c_stop_and_nothing_else_does() {
        let key = |code, modifiers| stops(&KeyEvent::new(code, modifiers));
        assert!(key(KeyCode::Char('q'), KeyModifiers::NONE));
        assert!(key(KeyCode::Char('Q'), KeyModifiers::SHIFT));
        assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(!key(KeyCode::Char('c'), KeyModifiers::NONE));
        assert!(!key(KeyCode::Char('q'), KeyModifiers::CONTROL));
        assert!(!key(KeyCode::Esc, KeyModifiers::NONE));
        let mut release = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
        release.kind = KeyEventKind::Release;
        assert!(!stops(&release), "Windows also tells when a key is let go");
    }
}
