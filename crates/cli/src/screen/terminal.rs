//! The terminal that charts are drawn on.

use std::io;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Frame};

/// The terminal, taken over: alternate screen, raw mode, no cursor.
///
/// It is given back when this is dropped, and by a panic hook before a panic is
/// printed. In raw mode Ctrl-C is a key and no signal: see [`is_quit`].
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

    /// Draws a picture as large as the terminal is by now.
    ///
    /// # Errors
    /// If the terminal cannot be written.
    pub fn draw(&mut self, picture: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(picture).map(drop)
    }

    /// Returns the keys that were pressed since, without waiting for any.
    ///
    /// # Errors
    /// If the terminal cannot be read.
    pub fn keys(&mut self) -> io::Result<Vec<KeyEvent>> {
        let mut keys = Vec::new();
        while event::poll(Duration::ZERO)? {
            if let Event::Key(key) = event::read()?
                && key.kind != KeyEventKind::Release
            {
                keys.push(key);
            }
        }
        Ok(keys)
    }
}

impl Drop for TerminalView {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Whether a key is `q` or Ctrl-C.
pub(crate) fn is_quit(key: &KeyEvent) -> bool {
    match key.code {
        KeyCode::Char('c') => key.modifiers.contains(KeyModifiers::CONTROL),
        code => code == KeyCode::Char('q'),
    }
}
