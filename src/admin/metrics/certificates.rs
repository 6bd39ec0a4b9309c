//! When certificates from an ACME server end, as figures.

use std::fmt;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::acme::Expiries;

use super::page::{Encoder, SECONDS};

/// `callboard_certificate_expiry_seconds`, one for each name.
#[derive(Debug)]
pub(super) struct Certificates(pub(super) Expiries);

impl Collector for Certificates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "When the certificate of a name ends, in seconds since 1970";
        let mut ends = encoder.gauge("certificate_expiry", Some(&SECONDS), help)?;
        for (name, until) in &*self.0.by_name() {
            let since = until.duration_since(SystemTime::UNIX_EPOCH);
            let seconds = since.unwrap_or_default().as_secs();
            ends.gauge(&[("name", name.as_str())], seconds)?;
        }
        Ok(())
    }
}
