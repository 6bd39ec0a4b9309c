//! What all parts of the page are written with.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeMetric, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::figures::histogram::Reading;

pub(super) const SECONDS: Unit = Unit::Seconds;
pub(super) const BYTES: Unit = Unit::Bytes;

/// The upper bounds of the buckets that are shown, in microseconds: the 1, 2.5 and 5 of each decade.
pub(super) const BUCKETS: [u64; 19] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
];

/// Begins families of figures. Names are without `callboard_`, units and what the type demands.
pub(super) trait Encoder {
    fn gauge<'s>(&'s mut self, name: &'s str, unit: Option<&'s Unit>, help: &str) -> Begun<'s>;
    fn counter<'s>(&'s mut self, name: &'s str, unit: Option<&'s Unit>, help: &str) -> Begun<'s>;
    fn histogram<'s>(&'s mut self, name: &'s str, help: &str) -> Begun<'s>;
}

pub(super) type Begun<'s> = Result<Family<'s>, fmt::Error>;

/// Figures of one name that differ by their labels.
pub(super) struct Family<'s>(MetricEncoder<'s>);

pub(super) type Labels<'l> = [(&'l str, &'l str)];

impl Encoder for DescriptorEncoder<'_> {
    fn gauge<'s>(&'s mut self, name: &'s str, unit: Option<&'s Unit>, help: &str) -> Begun<'s> {
        let family = self.encode_descriptor(name, help, unit, MetricType::Gauge);
        family.map(Family)
    }

    fn counter<'s>(&'s mut self, name: &'s str, unit: Option<&'s Unit>, help: &str) -> Begun<'s> {
        let family = self.encode_descriptor(name, help, unit, MetricType::Counter);
        family.map(Family)
    }

    fn histogram<'s>(&'s mut self, name: &'s str, help: &str) -> Begun<'s> {
        let family = self.encode_descriptor(name, help, Some(&SECONDS), MetricType::Histogram);
        family.map(Family)
    }
}

impl Family<'_> {
    pub(super) fn gauge(
        &mut self,
        labels: &Labels<'_>,
        value: impl EncodeGaugeValue + fmt::Debug,
    ) -> fmt::Result {
        if labels.is_empty() {
            return self.0.encode_gauge(&value);
        }
        ConstGauge::new(value).encode(self.0.encode_family(&labels)?)
    }

    pub(super) fn counter(&mut self, labels: &Labels<'_>, value: u64) -> fmt::Result {
        if labels.is_empty() {
            return self.0.encode_counter::<NoLabelSet, u64, f64>(&value, None);
        }
        ConstCounter::new(value).encode(self.0.encode_family(&labels)?)
    }

    /// A time that grows.
    pub(super) fn total(&mut self, time: Duration) -> fmt::Result {
        let seconds = time.as_secs_f64();
        self.0
            .encode_counter::<NoLabelSet, f64, f64>(&seconds, None)
    }

    pub(super) fn histogram(&mut self, labels: &Labels<'_>, reading: &Reading) -> fmt::Result {
        let cumulated = reading.cumulated(&BUCKETS);
        let mut below = 0;
        let mut buckets = [(0.0, 0); BUCKETS.len() + 1];
        for (bucket, (bound, count)) in buckets.iter_mut().zip(BUCKETS.iter().zip(cumulated)) {
            *bucket = (*bound as f64 / 1e6, count - below);
            below = count;
        }
        let all = reading.count();
        buckets[BUCKETS.len()] = (f64::INFINITY, all - below);
        let mut encoder = self.0.encode_family(&labels)?;
        encoder.encode_histogram::<NoLabelSet>(reading.sum as f64 / 1e6, all, &buckets, None)
    }
}
