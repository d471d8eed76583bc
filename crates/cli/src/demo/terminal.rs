//! The terminal the demo draws on.

use std::io;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::state::DemoState;
use super::view::draw;

/// The terminal, taken over: alternate screen, raw mode, no cursor.
///
/// It is given back when this is dropped, and by a panic hook before a panic is
/// printed. In raw mode Ctrl-C is a key and no signal: poll
/// [`wants_to_quit`](Self::wants_to_quit).
#[derive(Debug)]
pub struct TerminalView {
    terminal: DefaultTerminal,
}

impl TerminalView {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// If standard output is no terminal.
    pub fn open() -> io::Result<Self> {
        Ok(Self { terminal: ratatui::try_init()? })
    }

    /// Draws `state`.
    ///
    /// # Errors
    /// If the terminal cannot be written.
    pub fn draw(&mut self, state: &DemoState) -> io::Result<()> {
        self.terminal.draw(|frame| draw(frame, state)).map(drop)
    }

    /// Waits up to `wait` for keys, and returns whether one of them was `q`,
    /// Escape or Ctrl-C. It blocks: that is the pace of the drawing loop.
    ///
    /// # Errors
    /// If the terminal cannot be read.
    pub fn wants_to_quit(&mut self, wait: Duration) -> io::Result<bool> {
        let mut wait = wait;
        while event::poll(wait)? {
            wait = Duration::ZERO;
            if let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
            {
                let is_interrupt =
                    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                if is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

impl Drop for TerminalView {
    fn drop(&mut self) {
        ratatui::restore();
    }
}
