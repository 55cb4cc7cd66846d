//! `--tui`: a dashboard that has the whole terminal while a run lasts. Here are the terminal and the keys; `screen`
//! draws.
//!
//! The training loop tells its progress about ten times a second, and the dashboard draws then. Keys have a thread of
//! their own: a device that hangs must not keep anybody from leaving. What is printed meanwhile is kept, and appears
//! when the terminal is given back.

use super::screen::{Run, Screen};
use crate::cli::clock::clock;
use crate::cli::interrupt::{From, before_exit, interrupt, interrupted};
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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

/// Whether the terminal is the dashboard's.
static UP: AtomicBool = AtomicBool::new(false);

/// Held by whoever draws.
static DRAWING: Mutex<()> = Mutex::new(());

#[derive(Debug, thiserror::Error)]
#[error("cannot draw on this terminal: {0}; leave --tui out to get plain lines")]
pub struct DashboardError(io::Error);

pub struct Dashboard(Arc<Mutex<View>>);

struct View {
    terminal: Terminal<CrosstermBackend<io::Stdout>>,
    screen: Screen,
    drawn: Option<Duration>,
}

impl Dashboard {
    /// A fast GPU has more to tell than anyone can see.
    const EVERY: Duration = Duration::from_millis(80);

    /// Takes the terminal, and draws `run` as it stands before its first batch.
    pub fn new(run: Run) -> Result<Self, DashboardError> {
        UP.store(true, Ordering::SeqCst);
        before_exit(|| drop(give_back()));
        let failed = |error| {
            let _ = give_back();
            DashboardError(error)
        };
        let terminal = take().map_err(failed)?;
        output::hold();
        let screen = Screen::new(run, output::colour());
        let dashboard = Self(Arc::new(Mutex::new(View { terminal, screen, drawn: None })));
        dashboard.view().draw();
        let view = dashboard.0.clone();
        std::thread::Builder::new().name("keys".into()).spawn(move || listen(&view)).map_err(failed)?;
        Ok(dashboard)
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn show(&mut self, progress: &Progress) {
        let (now, mut view) = (clock(), self.view());
        view.screen.progress(progress, now);
        if view.drawn.is_none_or(|drawn| now >= drawn + Self::EVERY) {
            view.draw();
        }
    }

    pub fn epoch(&mut self, row: &Row) {
        let mut view = self.view();
        view.screen.epoch(row);
        view.draw();
    }

    /// Gives the terminal back, and writes what waited for that.
    pub fn finish(self) -> Result<(), StdoutError> {
        give_back()
    }
}

impl View {
    fn draw(&mut self) {
        let _drawing = DRAWING.lock();
        if !UP.load(Ordering::SeqCst) {
            return;
        }
        self.drawn = Some(clock());
        self.screen.stopping = interrupted();
        self.screen.messages = output::held_lines(3);
        // A terminal that has gone is no reason to stop training.
        let _ = self.terminal.draw(|frame| self.screen.draw(frame));
    }
}

/// Acts on keys until the terminal is given back.
fn listen(view: &Mutex<View>) {
    const LOOK_UP: Duration = Duration::from_millis(100);
    while UP.load(Ordering::SeqCst) {
        match event::poll(LOOK_UP).and_then(|any| if any { event::read().map(Some) } else { Ok(None) }) {
            Ok(Some(Event::Key(key))) if stops(&key) => interrupt(From::Key, || ()),
            Ok(Some(Event::Resize(..))) => {}
            Ok(_) => continue,
            Err(_) => return, // the terminal has gone
        }
        view.lock().unwrap_or_else(PoisonError::into_inner).draw();
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

/// Gives the terminal back, if the dashboard has it. Waits for what is being drawn, but not for ever: that may be on
/// this very thread, which panics, or on one that hangs.
fn give_back() -> Result<(), StdoutError> {
    if UP.swap(false, Ordering::SeqCst) {
        let _ = disable_raw_mode();
        let mut drawing = DRAWING.try_lock();
        for _ in 0..20 {
            if matches!(drawing, Err(TryLockError::WouldBlock)) {
                std::thread::sleep(Duration::from_millis(10));
                drawing = DRAWING.try_lock();
            }
        }
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        return release();
    }
    Ok(())
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
