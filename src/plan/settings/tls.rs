//! What connections with TLS go by. The contents of files are told apart by their fingerprints.

use crate::plan::words::{list, switch};
use crate::tls::{
    self, CertificateFiles, ClientCertificates, ClientSettings, ServerSettings, Summary, Version,
};

use super::{Place, Setting, put_fields};

/// The most certificates of one setting that are told.
const SHOWN: usize = 10;

impl Setting for tls::Server {
    fn write(&self, mut at: Place<'_>) {
        let settings = self.settings();
        put_fields!(at, &*settings => ServerSettings {
            acme: list; certificates, clients, oldest
        });
        at.put("certificates", &list(certificates.iter().map(written)));
        let clients = clients.as_ref().map(|ClientCertificates { ca, required }| {
            format!("{{ca: {}, required: {}}}", ca.display(), switch(required))
        });
        at.put("clients", clients.as_deref().unwrap_or("none"));
        let oldest = match oldest {
            Version::Tls12 => "1.2",
            Version::Tls13 => "1.3",
        };
        at.put("min_version", oldest);
        let fingerprint = format!("{:08x}", self.contents());
        at.put("contents", &contents(fingerprint, &self.certificates()));
    }
}

impl Setting for tls::Client {
    fn write(&self, mut at: Place<'_>) {
        put_fields!(at, self.settings() => ClientSettings {
            verify; ca, certificate, server_name
        });
        let ca = ca.as_ref().map(|ca| ca.display().to_string());
        at.put("ca", ca.as_deref().unwrap_or("system"));
        let own = certificate.as_ref().map(written);
        at.put("cert", own.as_deref().unwrap_or("none"));
        let name = server_name.clone();
        let name = name.unwrap_or_else(|| format!("SERVICE{}", self.host_suffix()));
        at.put("server_name", &name);
        let credentials = self.credentials();
        let fingerprint = format!("{:016x}", credentials.fingerprint());
        at.put(
            "contents",
            &contents(fingerprint, &credentials.certificates()),
        );
    }
}

/// What files hold: a fingerprint, which tells it from anything else, and what people know it by.
fn contents(fingerprint: String, certificates: &[Summary]) -> String {
    let shown: Vec<_> = certificates
        .iter()
        .take(SHOWN)
        .map(Summary::to_string)
        .collect();
    match certificates.len().saturating_sub(SHOWN) {
        _ if shown.is_empty() => fingerprint,
        0 => format!("{fingerprint} ({})", shown.join("; ")),
        more => format!("{fingerprint} ({}; {more} more)", shown.join("; ")),
    }
}

fn written(files: &CertificateFiles) -> String {
    let CertificateFiles { cert, key, ocsp } = files;
    let ocsp = ocsp
        .as_ref()
        .map(|ocsp| format!(", ocsp: {}", ocsp.display()));
    let ocsp = ocsp.unwrap_or_default();
    format!("{{cert: {}, key: {}{ocsp}}}", cert.display(), key.display())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use crate::config::Config;
    use crate::plan::{Present, compare};

    fn issue(folder: &Path, file: &str, name: &str, year: i32) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.join(format!("{file}.pem")), certificate.pem()).unwrap();
        fs::write(folder.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    #[test]
    fn of_other_certificates_in_the_same_files_it_is_said_whose_they_are_and_when_they_expire() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let files = "cert: DIR/a.pem, key: DIR/a.key";
        let text = format!(
            "{{proxy: {{listen: [{{address: \"0.0.0.0:1\", tls: {{{files}}}}}]}}, defaults: {{tls: {{ca: DIR/ca.pem}}}}}}"
        );
        let text = text.replace("DIR", &folder.display().to_string());
        let config = || Config::parse("f", &text).unwrap().config;
        issue(folder, "a", "old.test", 2031);
        issue(folder, "ca", "root.test", 2041);
        let old = config();
        issue(folder, "a", "new.test", 2032);
        issue(folder, "ca", "root.test", 2042);
        let plan = compare(&old, &config(), &Present::default());
        let told: Vec<_> = plan
            .changes
            .iter()
            .map(|change| {
                // Without the fingerprints.
                let known = |value: &Option<String>| {
                    let value = value.as_deref().unwrap_or_default();
                    value.split_once(' ').unwrap().1.to_owned()
                };
                (change.path.as_str(), known(&change.from), known(&change.to))
            })
            .collect();
        let row = |path, from: &str, to: &str| (path, from.to_owned(), to.to_owned());
        assert_eq!(
            told,
            [
                row(
                    "proxy.listen[0].tls.contents",
                    "(old.test until 2031-01-01T00:00:00Z)",
                    "(new.test until 2032-01-01T00:00:00Z)",
                ),
                row(
                    "defaults.tls.contents",
                    "(root.test until 2041-01-01T00:00:00Z)",
                    "(root.test until 2042-01-01T00:00:00Z)",
                ),
            ]
        );
    }
}
