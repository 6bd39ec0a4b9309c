//! Server-sent events out of bytes
//! ([HTML, 9.2.6](https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation)),
//! with a bound on what one event may hold.
//!
//! The snapshot of a large registry is one line of many megabytes. It is gathered in one buffer,
//! and that buffer becomes the event's data without another copy. Whoever is at the other end may
//! turn out to be no registry at all, and only an event that says it is one of the large kinds may get
//! that big.

/// The longest line that is not data.
const MAX_FIELD: usize = 4 * 1024;
/// The most data of an event about one instance: 64 KiB of registration, each byte escaped.
const MAX_DATA: usize = 1024 * 1024;
/// The events that tell of everything at once.
const LARGE: &[&str] = &["snapshot", "figures"];
/// The most data of one of those. A snapshot of 100,000 instances has 60 to 100 MB.
const MAX_LARGE: usize = 256 * 1024 * 1024;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its type; empty when it has none.
    pub name: String,
    /// Its id; empty when it has none.
    pub id: String,
    buffer: Vec<u8>,
    /// Where in `buffer` the data begins.
    start: usize,
}

/// Takes bytes and gives events.
#[derive(Debug, Default)]
pub struct Decoder {
    event: Event,
    has_data: bool,
    line: Vec<u8>,
    /// The last line ended with a carriage return, whose line feed is to come.
    after_return: bool,
}

/// A line or an event that is larger than any registry sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {0} bytes at once")]
pub struct TooLarge(usize);

impl Event {
    /// Its data.
    pub fn data(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }
}

impl Decoder {
    /// Takes from `input` up to the end of the next event; `None` when `input` is used up before.
    ///
    /// # Errors
    /// When the sender goes on and on.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Event>, TooLarge> {
        loop {
            if self.after_return && !input.is_empty() {
                self.after_return = false;
                *input = input.strip_prefix(b"\n").unwrap_or(input);
            }
            let end = input.iter().position(|&byte| matches!(byte, b'\n' | b'\r'));
            let (part, rest) = input.split_at(end.unwrap_or(input.len()));
            self.extend_line(part)?;
            let Some((ending, rest)) = rest.split_first() else {
                *input = rest;
                return Ok(None);
            };
            self.after_return = *ending == b'\r';
            *input = rest;
            if let Some(event) = self.end_of_line() {
                return Ok(Some(event));
            }
        }
    }

    fn extend_line(&mut self, part: &[u8]) -> Result<(), TooLarge> {
        // Until its name is complete a line is short enough for any bound.
        let is_data = self.line.iter().chain(part).take(4).eq(b"data");
        let (held, bound) = match self.event.name.as_str() {
            _ if !is_data => (0, MAX_FIELD),
            name if LARGE.contains(&name) => (self.event.buffer.len(), MAX_LARGE),
            _ => (self.event.buffer.len(), MAX_DATA),
        };
        if held + self.line.len() + part.len() > bound {
            return Err(TooLarge(bound));
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    /// Takes in the line, which is complete; gives the event that it ends.
    fn end_of_line(&mut self) -> Option<Event> {
        if self.line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let colon = self.line.iter().position(|&byte| byte == b':');
        let (name, value) = match colon {
            Some(colon) => {
                let space = self.line.get(colon + 1) == Some(&b' ');
                (colon, colon + 1 + usize::from(space))
            }
            None => (self.line.len(), self.line.len()),
        };
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        match &self.line[..name] {
            b"event" => self.event.name = text(&self.line[value..]),
            b"id" => self.event.id = text(&self.line[value..]),
            b"data" if self.has_data => {
                self.event.buffer.push(b'\n');
                self.event.buffer.extend_from_slice(&self.line[value..]);
            }
            b"data" => {
                self.has_data = true;
                self.event.start = value;
                std::mem::swap(&mut self.event.buffer, &mut self.line);
            }
            // Comments, which have no name, and what is not for us.
            _ => {}
        }
        self.line.clear();
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(text: &[u8], cut: usize) -> Result<Vec<(String, String, String)>, TooLarge> {
        let mut decoder = Decoder::default();
        let mut events = Vec::new();
        for mut part in text.chunks(cut) {
            while let Some(event) = decoder.next(&mut part)? {
                let data = String::from_utf8(event.data().to_vec()).unwrap();
                events.push((event.name, event.id, data));
            }
        }
        Ok(events)
    }

    fn event(name: &str, id: &str, data: &str) -> (String, String, String) {
        (name.to_owned(), id.to_owned(), data.to_owned())
    }

    const STREAM: &str = ": hello\n\nretry: 2000\nevent: snapshot\ndata: [1,2]\nid: 7\n\n:\n\n\
        event:upsert\r\ndata:{}\r\ndata: and more\r\nid:8\r\n\r\nid: 9\n\ndata\n\nodd: 1\rdata: x\r\r";

    #[test]
    fn lines_become_events_wherever_the_bytes_are_cut() {
        let expected = [
            event("snapshot", "7", "[1,2]"),
            event("upsert", "8", "{}\nand more"),
            event("", "", ""),
            event("", "", "x"),
        ];
        for cut in 1..STREAM.len() {
            assert_eq!(events(STREAM.as_bytes(), cut).unwrap(), expected, "{cut}");
        }
    }

    #[test]
    fn only_a_snapshot_may_be_large() {
        let line = |start: &str, bytes: usize| {
            let mut text = start.as_bytes().to_vec();
            text.resize(start.len() + bytes, b'x');
            text.extend_from_slice(b"\n\n");
            events(&text, 64 * 1024).map(|events| events.len())
        };
        assert_eq!(line("event: snapshot\ndata: ", 2 * MAX_DATA), Ok(1));
        assert_eq!(line("event: upsert\ndata: ", MAX_DATA - 10), Ok(1));
        assert_eq!(
            line("event: upsert\ndata: ", MAX_DATA),
            Err(TooLarge(MAX_DATA))
        );
        assert_eq!(line("data: ", MAX_DATA), Err(TooLarge(MAX_DATA)));
        for start in ["", "event: ", ": ", "dat: "] {
            assert_eq!(
                line(start, MAX_FIELD + 1),
                Err(TooLarge(MAX_FIELD)),
                "{start:?}"
            );
        }
    }

    #[test]
    fn many_lines_of_data_are_bounded_like_one() {
        let lines =
            "data: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n".repeat(MAX_DATA / 16);
        assert_eq!(events(lines.as_bytes(), 1_000), Err(TooLarge(MAX_DATA)));
    }

    proptest! {
        #[test]
        fn where_the_bytes_are_cut_makes_no_difference(
            words in prop::collection::vec(prop::sample::select(vec![
                "event", "data", "id", ":", " ", "\n", "\r", "\r\n", "\n\n", "snapshot", "{}", "ä",
            ]), 0..60),
            cut in 1..9_usize,
        ) {
            let text = words.concat();
            prop_assert_eq!(events(text.as_bytes(), cut), events(text.as_bytes(), usize::MAX));
        }
    }
}
