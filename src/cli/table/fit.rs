//! How the columns of a table share a terminal that is too narrow for all of them.
//!
//! What can be shortened is, as long as it can still be told what it is. Then columns are left out,
//! those first that are of the least interest; and only when there are none left to leave out are the
//! others shortened further. The column that the table is read for is whole to the last.

/// The narrowest a column gets while another can be left out.
const READABLE: usize = 13;
/// The narrowest a column gets for the sake of a terminal's width.
pub(in crate::cli) const NARROWEST: usize = 6;

/// Which columns give way.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::cli) struct Priority {
    /// The places of those that can be left out, the first first.
    pub(in crate::cli) dispensable: &'static [usize],
    /// The place of the one that is shortened last.
    pub(in crate::cli) whole: Option<usize>,
}

/// Takes the width from the columns that have to be left out for the rest to fit into `most`. Those
/// without a width are not there.
pub(in crate::cli) fn leave_out(widths: &mut [usize], most: usize, gap: usize, priority: Priority) {
    for &column in priority.dispensable {
        if total(widths, gap, READABLE, priority.whole) <= most {
            return;
        }
        widths[column] = 0;
    }
}

/// Makes the widest columns narrower until all of them fit into `most`, as far as they can be.
pub(in crate::cli) fn shorten(widths: &mut [usize], most: usize, gap: usize, priority: Priority) {
    let fits = |whole| total(widths, gap, NARROWEST, whole) <= most;
    let whole = priority.whole.filter(|&column| fits(Some(column)));
    let widest = widths.iter().copied().max().unwrap_or_default();
    // The bound on a column's width that uses the line best.
    let bound = (NARROWEST..=widest)
        .rev()
        .find(|&bound| total(widths, gap, bound, whole) <= most)
        .unwrap_or(NARROWEST);
    let mut spare = most.saturating_sub(total(widths, gap, bound, whole));
    for (column, width) in widths.iter_mut().enumerate() {
        if *width > bound && whole != Some(column) {
            let extra = spare.min(1);
            spare -= extra;
            *width = bound + extra;
        }
    }
}

/// What a line takes if no column is wider than `bound`, the `whole` one apart.
fn total(widths: &[usize], gap: usize, bound: usize, whole: Option<usize>) -> usize {
    let shown = widths.iter().filter(|width| **width > 0).count();
    let bounded = widths.iter().enumerate().map(|(column, &width)| {
        let is_whole = whole == Some(column);
        if is_whole { width } else { width.min(bound) }
    });
    bounded.sum::<usize>() + gap * shown.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A name, two figures and an availability.
    const PRIORITY: Priority = Priority {
        dispensable: &[2, 1],
        whole: Some(3),
    };

    fn fitted(mut widths: [usize; 4], most: usize) -> [usize; 4] {
        leave_out(&mut widths, most, 2, PRIORITY);
        shorten(&mut widths, most, 2, PRIORITY);
        widths
    }

    #[test]
    fn names_are_shortened_before_figures_are_left_out_and_figures_before_the_rest() {
        let widths = [30, 6, 8, 20];
        for (most, expected) in [
            (120, [30, 6, 8, 20]),
            (60, [20, 6, 8, 20]),
            (53, [13, 6, 8, 20]),
            (52, [22, 6, 0, 20]),
            (42, [20, 0, 0, 20]),
            (28, [6, 0, 0, 20]),
            (27, [13, 0, 0, 12]),
            (14, [6, 0, 0, 6]),
        ] {
            assert_eq!(fitted(widths, most), expected, "{most}");
        }
    }

    proptest! {
        #[test]
        fn the_line_is_filled_and_never_too_long(
            widths in prop::array::uniform4(0..50_usize),
            most in 2 * NARROWEST + 2..120,
        ) {
            let fitted = fitted(widths, most);
            prop_assert!(total(&fitted, 2, usize::MAX, None) <= most, "{fitted:?}");
            prop_assert!((0..4).all(|at| fitted[at] <= widths[at]), "{fitted:?}");
            if fitted[0] < widths[0] {
                prop_assert_eq!(total(&fitted, 2, usize::MAX, None), most);
            }
        }
    }
}
