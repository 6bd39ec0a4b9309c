//! Where the frames of a WebSocket begin and end (RFC 6455, section 5.2): between two of them, and
//! nowhere else, callboard may say something of its own.

/// "Going away" (RFC 6455, section 7.4.1).
const GOING_AWAY: u16 = 1001;

/// The first byte of a Close frame that is not fragmented, as none may be.
const CLOSE: u8 = 0x88;
/// The bits of the first byte that say what kind of frame it is.
const OPCODE: u8 = 0x0f;
/// The bit of the second byte that says that the payload is masked.
const MASKED: u8 = 0x80;
/// How many bytes a mask has.
const MASK: u64 = 4;

/// How far one direction has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Frames {
    at: At,
    /// The present frame is a Close.
    closes: bool,
    /// A Close has been seen to its end.
    closed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Before a frame.
    #[default]
    Start,
    /// Before the byte that holds the length or says how long that is.
    Length,
    /// In a length of several bytes, of which so many are to come.
    LongLength { to_come: u8, known: u64, mask: u64 },
    /// Before so many bytes of the mask and the payload.
    Payload(u64),
}

impl Frames {
    /// Whether nothing of a frame is under way.
    pub(super) fn is_between(self) -> bool {
        self.at == At::Start
    }

    /// Whether the direction has said that nothing follows.
    pub(super) fn has_closed(self) -> bool {
        self.closed
    }

    /// Takes note of bytes that went by.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let length = self.step(bytes);
            bytes = &bytes[length..];
        }
    }

    /// Takes note of bytes up to the end of the frame under way; says how many those are.
    pub(super) fn finish(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < bytes.len() && !self.is_between() {
            taken += self.step(&bytes[taken..]);
        }
        taken
    }

    /// Takes note of the next part; `bytes` are not empty, and of them this many are it.
    fn step(&mut self, bytes: &[u8]) -> usize {
        let first = bytes[0];
        match self.at {
            At::Start => {
                self.closes = first & OPCODE == CLOSE & OPCODE;
                self.at = At::Length;
                1
            }
            At::Length => {
                let mask = if first & MASKED == 0 { 0 } else { MASK };
                match first & !MASKED {
                    126 => self.await_length(2, mask),
                    127 => self.await_length(8, mask),
                    length => self.await_payload(u64::from(length) + mask),
                }
                1
            }
            At::LongLength {
                to_come,
                known,
                mask,
            } => {
                let known = known << 8 | u64::from(first);
                if to_come > 1 {
                    self.at = At::LongLength {
                        to_come: to_come - 1,
                        known,
                        mask,
                    };
                } else {
                    self.await_payload(known.saturating_add(mask));
                }
                1
            }
            At::Payload(to_come) => {
                let here = to_come.min(bytes.len() as u64);
                self.await_payload(to_come - here);
                here as usize
            }
        }
    }

    fn await_length(&mut self, to_come: u8, mask: u64) {
        self.at = At::LongLength {
            to_come,
            known: 0,
            mask,
        };
    }

    fn await_payload(&mut self, to_come: u64) {
        self.at = if to_come == 0 {
            self.closed |= self.closes;
            At::Start
        } else {
            At::Payload(to_come)
        };
    }
}

/// A Close frame that says that callboard goes away; with this `mask` if it is for a server.
pub(super) fn close_frame(mask: Option<u32>) -> Vec<u8> {
    let payload = GOING_AWAY.to_be_bytes();
    let length = payload.len() as u8;
    let Some(mask) = mask.map(u32::to_be_bytes) else {
        return [&[CLOSE, length][..], &payload].concat();
    };
    let masked: Vec<u8> = (payload.iter().zip(mask))
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    [&[CLOSE, MASKED | length][..], &mask, &masked].concat()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A frame with `length` bytes of payload.
    fn frame(opcode: u8, mask: bool, length: usize, long: bool) -> Vec<u8> {
        let bit = if mask { MASKED } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match length {
            0..=125 if !long => frame.push(bit | length as u8),
            126..=0xffff if !long => {
                frame.push(bit | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(bit | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(vec![0x88; length + if mask { 4 } else { 0 }]);
        frame
    }

    fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let length = prop_oneof![Just(0_usize), 1..130_usize, 120..400_usize, Just(70_000)];
        let one = (0..8_u8, any::<bool>(), length, any::<bool>());
        vec(
            one.prop_map(|(opcode, mask, length, long)| frame(opcode, mask, length, long)),
            0..6,
        )
    }

    proptest! {
        #[test]
        fn frames_end_where_they_end_however_the_bytes_come(
            frames in frames(),
            pieces in vec(1..300_usize, 1..20),
        ) {
            let bytes = frames.concat();
            let mut ends: Vec<usize> = frames
                .iter()
                .scan(0, |end, frame| { *end += frame.len(); Some(*end) })
                .collect();
            ends.insert(0, 0);
            let mut state = Frames::default();
            let mut at = 0;
            for length in pieces.iter().cycle() {
                prop_assert_eq!(state.is_between(), ends.contains(&at));
                let mut rest = state;
                let left = rest.finish(&bytes[at..]);
                let next = ends.iter().find(|&&end| end >= at);
                prop_assert_eq!(Some(&(at + left)), next);
                if at == bytes.len() {
                    break;
                }
                let end = (at + length).min(bytes.len());
                state.pass(&bytes[at..end]);
                at = end;
            }
            prop_assert!(!state.has_closed());
            state.pass(&frame(8, true, 2, false));
            prop_assert!(state.has_closed() && state.is_between());
        }

        #[test]
        fn no_bytes_are_too_odd(bytes in vec(any::<u8>(), 0..200)) {
            let mut state = Frames::default();
            state.pass(&bytes);
            let mut state = Frames::default();
            prop_assert!(state.finish(&bytes) <= bytes.len());
        }
    }

    #[test]
    fn a_length_that_no_frame_can_have_is_waited_for_without_end() {
        let mut state = Frames::default();
        state.pass(&[0x82, 0xff]);
        state.pass(&[0xff; 8]);
        state.pass(&[0; 1_000]);
        assert!(!state.is_between());
    }

    #[test]
    fn a_close_is_masked_for_servers_only() {
        assert_eq!(close_frame(None), [0x88, 2, 0x03, 0xe9]);
        assert_eq!(
            close_frame(Some(0x0102_0304)),
            [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe9 ^ 2]
        );
        let mut state = Frames::default();
        state.pass(&close_frame(Some(7)));
        assert!(state.has_closed() && state.is_between());
    }
}
