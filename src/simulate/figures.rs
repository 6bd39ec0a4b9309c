//! How long things took, finely enough to compare algorithms: a logarithmic histogram with 64 buckets an
//! octave, so that a percentile is right within 1.6%.

/// The bits of an `f32` that choose a bucket: its exponent and six of its mantissa.
const SHIFT: u32 = 17;
/// Octaves, from a microsecond on.
const OCTAVES: usize = 40;

#[derive(Clone, Debug)]
pub(super) struct Figures {
    buckets: Vec<u64>,
    count: u64,
    sum: f64,
    most: f64,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            buckets: vec![0; OCTAVES << 6],
            count: 0,
            sum: 0.0,
            most: 0.0,
        }
    }
}

impl Figures {
    /// Counts one that took so many seconds.
    pub(super) fn record(&mut self, seconds: f64) {
        let micros = (seconds * 1e6).max(1.0) as f32;
        let bucket = ((micros.to_bits() - 1.0_f32.to_bits()) >> SHIFT) as usize;
        let last = self.buckets.len() - 1;
        self.buckets[bucket.min(last)] += 1;
        self.count += 1;
        self.sum += seconds;
        self.most = self.most.max(seconds);
    }

    pub(super) fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }

    pub(super) fn max(&self) -> f64 {
        self.most
    }

    /// The time within which `share` of them were done, in seconds; 0 if there are none.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        let Some(bucket) = bucket else { return 0.0 };
        let bits = ((bucket as u32 + 1) << SHIFT) + 1.0_f32.to_bits();
        (f64::from(f32::from_bits(bits)) / 1e6).min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_within_two_percent() {
        let mut figures = Figures::default();
        assert_eq!(figures.quantile(0.5), 0.0);
        (1..=10_000).for_each(|number| figures.record(f64::from(number) / 1e4));
        for share in [0.01, 0.5, 0.9, 0.99, 1.0] {
            let error = (figures.quantile(share) / share - 1.0).abs();
            assert!(error < 0.02, "{share}: {}", figures.quantile(share));
        }
        assert!((figures.mean() - 0.5).abs() < 0.01);
    }
}
