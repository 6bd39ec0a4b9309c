//! Which word was meant by a misspelt one.

/// The word among `known` that `word` is most likely a misspelling of: at most a third of its
/// letters differ, `-` and `_` being the same.
pub(super) fn meant<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|known| (distance(&word, known), known))
        .filter(|(distance, known)| *distance <= (known.len() / 3).clamp(1, 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// How many letters must be added, removed, changed or swapped with their neighbour to get from `a`
/// to `b` (the optimal string alignment distance); words that differ too much in length are not
/// compared.
fn distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > 3 {
        return usize::MAX;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let swapped = if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    rows[i - 2][j - 2] + 1
                } else {
                    usize::MAX
                };
                changed
                    .min(swapped)
                    .min(rows[i - 1][j] + 1)
                    .min(rows[i][j - 1] + 1)
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_word_is_suggested_and_none_when_none_is_close() {
        let known = ["balance", "bounded_load", "check", "drain", "ttl"];
        assert_eq!(meant("blance", known), Some("balance"));
        assert_eq!(meant("Bounded-Load", known), Some("bounded_load"));
        assert_eq!(meant("chekc", known), Some("check"));
        assert_eq!(meant("tll", known), Some("ttl"));
        assert_eq!(meant("colour", known), None);
        assert_eq!(meant(&"x".repeat(100_000), known), None);
    }
}
