//! What keys do.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::model::{Model, View};

/// How far a page goes.
const PAGE: isize = 10;
/// The longest filter.
const FILTER: usize = 64;

impl Model {
    /// Does what a key says; says whether it is the end.
    pub(super) fn press(&mut self, key: KeyEvent) -> bool {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return true;
        }
        match self.view {
            View::Filter => self.press_in_filter(key.code),
            View::Help => self.view = View::Services,
            View::Services | View::Inside => return self.press_in_table(key.code),
        }
        false
    }

    fn press_in_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char(c) if !c.is_control() && self.filter.chars().count() < FILTER => {
                self.filter.push(c);
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Enter => self.view = View::Services,
            KeyCode::Esc => {
                self.filter.clear();
                self.view = View::Services;
            }
            _ => {}
        }
    }

    fn press_in_table(&mut self, code: KeyCode) -> bool {
        match code {
            KeyCode::Char('q') => return true,
            KeyCode::Char('?' | 'h') => self.view = View::Help,
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left if self.view == View::Inside => {
                self.leave();
            }
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Enter | KeyCode::Right if self.view == View::Services => self.enter(),
            KeyCode::Char('/') if self.view == View::Services => self.view = View::Filter,
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('r') => self.reversed = !self.reversed,
            KeyCode::Up | KeyCode::Char('k') => self.go(-1),
            KeyCode::Down | KeyCode::Char('j') => self.go(1),
            KeyCode::PageUp => self.go(-PAGE),
            KeyCode::PageDown => self.go(PAGE),
            KeyCode::Home | KeyCode::Char('g') => self.go(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.go(isize::MAX),
            _ => {}
        }
        false
    }
}
