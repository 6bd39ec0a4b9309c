//! The one hash of request keys.
//!
//! XXH3-64 (Yann Collet, <https://github.com/Cyan4973/xxHash>) under a fixed seed: its 64 bits are
//! well mixed, a short key costs a few nanoseconds, and its output is frozen by its specification.
//! The seed is part of that promise: every process and every version of callboard maps a key to
//! the same hash, so several proxies in a row, or one before and after an upgrade, send a client to
//! the same endpoint.
//!
//! The hash is not secret. Whoever chooses the key can choose where it lands, which is what a hash
//! policy is for; bounded load is what keeps a crowd of such keys from overloading one endpoint.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// `callboar` in ASCII. Changing it moves every key of every cluster.
const REQUEST_SEED: u64 = 0x6361_6c6c_626f_6172;

/// The hash of a request's key, for [`Choice::hash`](super::Choice::hash).
pub fn of(key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, REQUEST_SEED)
}

/// One of many independent hashes of a member's id, for building tables.
pub(super) fn of_member(id: &str, number: u64) -> u64 {
    xxh3_64_with_seed(id.as_bytes(), number)
}

/// Maps a well-mixed hash to `0..bound` by multiplication, which is fair and cheaper than a
/// remainder (Lemire, "Fast random integer generation in an interval", 2019); 0 when `bound` is 0.
pub(super) fn below(hash: u64, bound: usize) -> usize {
    ((u128::from(hash) * bound as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_key_never_changes() {
        assert_eq!(of(b""), 0xe517_a6ce_8672_963f);
        assert_eq!(of(b"10.0.0.1"), 0x043d_f161_757e_6939);
        assert_eq!(of_member("web-1", 7), 0x496d_8cca_a64a_a0d1);
    }

    #[test]
    fn the_whole_range_of_hashes_covers_every_index() {
        assert_eq!(below(0, 10), 0);
        assert_eq!(below(u64::MAX / 2, 10), 4);
        assert_eq!(below(u64::MAX, 10), 9);
        assert_eq!(below(u64::MAX, 0), 0);
    }
}
