//! The terminal: taken over, and given back whatever happens.

use std::io;
use std::thread;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event as Input, KeyEventKind};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::cli::remote::Failure;

use super::feed::Feed;
use super::model::Model;
use super::screen::{self, Look};

/// The terminal in its raw state. A panic gives it back too, before it tells what it is about.
struct Screen(DefaultTerminal);

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Shows what goes on until told to stop.
///
/// # Errors
/// Any [`Failure`]; a registry that cannot be reached at the start is one.
pub(super) async fn show(feed: Feed) -> Result<(), Failure> {
    // An error is told better on the terminal as it was.
    feed.open().await?;
    let mut signals = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ]
    .map(signal)
    .into_iter()
    .collect::<io::Result<Vec<_>>>()?;
    let [terminate, interrupt, hangup] = signals.as_mut_slice() else {
        return Ok(());
    };
    let (to, mut told) = mpsc::channel(4);
    let (want, wanted) = watch::channel(None);
    let look = Look::of_environment(feed.client.name());
    tokio::spawn(feed.clone().look(wanted, to.clone()));
    let mut following = tokio::spawn(feed.run(to));
    let mut screen = Screen(ratatui::try_init()?);
    let mut inputs = inputs()?;
    let mut model = Model::default();
    loop {
        screen.0.draw(|frame| screen::draw(frame, &model, &look))?;
        tokio::select! {
            Some(told) = told.recv() => model.hear(told),
            input = inputs.recv() => match input {
                Some(Input::Key(key)) if key.kind != KeyEventKind::Release => {
                    if model.press(key) {
                        return Ok(());
                    }
                    want.send_if_modified(|before| {
                        let now = model.wanted();
                        let changed = *before != now;
                        *before = now;
                        changed
                    });
                }
                Some(_) => {}
                // The terminal is gone.
                None => return Ok(()),
            },
            ended = &mut following => return ended.map_err(io::Error::other)?,
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
        }
    }
}

/// What is typed, and the terminal's new sizes.
fn inputs() -> io::Result<mpsc::Receiver<Input>> {
    let (to, inputs) = mpsc::channel(64);
    let read = move || {
        while let Ok(input) = event::read() {
            if to.blocking_send(input).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("keys".to_owned()).spawn(read)?;
    Ok(inputs)
}
