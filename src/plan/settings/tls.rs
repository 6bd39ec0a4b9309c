//! What connections with TLS go by. The contents of files are told apart by their fingerprints.

use crate::plan::words::{list, switch};
use crate::tls::{
    self, CertificateFiles, ClientCertificates, ClientSettings, ServerSettings, Version,
};

use super::{Place, Setting, put_fields};

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
        at.put("contents", &format!("{:08x}", self.contents()));
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
        let fingerprint = self.credentials().fingerprint();
        at.put("contents", &format!("{fingerprint:016x}"));
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
