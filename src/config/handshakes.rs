//! TLS of listeners and towards instances. The files are read along with the configuration, so that a
//! faulty one is an error of the configuration and not of the first connection.

use std::sync::Arc;
use std::time::SystemTime;

use super::raw;
use super::report::{Path, Report};
use super::shape::Section;
use crate::acme;
use crate::tls::{
    CertificateFiles, Client, ClientCertificates, ClientSettings, Server, ServerSettings, Wrong,
};

/// What the handshakes of the listener at `path` go by.
pub(super) fn server(
    raw: &raw::ServerTls,
    protocols: &[&[u8]],
    path: &Path,
    report: &mut Report,
) -> Option<Arc<Server>> {
    let own = raw::CertificateFiles {
        cert: raw.cert.clone(),
        key: raw.key.clone(),
        ocsp: raw.ocsp.clone(),
    };
    let mut certificates = Vec::new();
    let mut places = Vec::new();
    if own.cert.is_some() || own.key.is_some() || own.ocsp.is_some() {
        certificates.push(certificate(&own, path, report)?);
        places.push(path.clone());
    }
    for (position, Section(raw)) in raw.certificates.0.iter().enumerate() {
        let path = path.key("certificates").item(position);
        certificates.push(certificate(raw, &path, report)?);
        places.push(path);
    }
    let acme: Vec<_> = raw.acme.0.iter().map(|raw| raw.0.clone()).collect();
    if certificates.is_empty() && acme.is_empty() {
        let is_whole = ["acme", "certificates"].map(|field| report.whole(&path.key(field)));
        if report.whole(path) && is_whole == [true; 2] {
            let message = "has no certificate (expected for example {cert: server.pem, key: \
                           server.key})";
            report.error(path, message);
        }
        return None;
    }
    let clients = match &raw.clients {
        None => None,
        Some(Section(raw)) => match &raw.ca {
            Some(ca) => Some(ClientCertificates {
                ca: ca.0.clone(),
                required: raw.required.as_ref().is_none_or(|raw| raw.0),
            }),
            None => {
                let path = path.key("clients");
                if report.whole(&path) {
                    report.error(
                        &path,
                        "has no ca (expected the file of the clients' issuers)",
                    );
                }
                return None;
            }
        },
    };
    let settings = ServerSettings {
        certificates,
        acme,
        clients,
        oldest: raw
            .min_version
            .as_ref()
            .map_or_else(Default::default, |raw| raw.0),
    };
    let place = |wrong: &Wrong| {
        let certificate = wrong.certificate.and_then(|position| places.get(position));
        match (certificate, wrong.field.as_str()) {
            (Some(certificate), field) => certificate.key(field),
            (None, "clients.ca") => path.key("clients").key("ca"),
            (None, _) => path.clone(),
        }
    };
    match Server::load(settings, protocols) {
        Ok(server) => {
            for wrong in server.unfit(SystemTime::now()) {
                report.warning(&place(&wrong), wrong.problem);
            }
            Some(Arc::new(server))
        }
        Err(wrong) => {
            report.error(&place(&wrong), wrong.problem);
            None
        }
    }
}

fn certificate(
    raw: &raw::CertificateFiles,
    path: &Path,
    report: &mut Report,
) -> Option<CertificateFiles> {
    if let (Some(cert), Some(key)) = (&raw.cert, &raw.key) {
        return Some(CertificateFiles {
            cert: cert.0.clone(),
            key: key.0.clone(),
            ocsp: raw.ocsp.as_ref().map(|raw| raw.0.clone()),
        });
    }
    if report.whole(path) {
        report.error(
            path,
            "lacks one of its two files (expected for example {cert: server.pem, key: server.key})",
        );
    }
    None
}

/// `base` with what `raw` names in its place; certificates are for a service's name and
/// `host_suffix`.
pub(super) fn client_over(
    base: &Arc<Client>,
    raw: &raw::ClientTls,
    host_suffix: &str,
    path: &Path,
    report: &mut Report,
) -> Arc<Client> {
    let old = base.settings();
    let certificate = if raw.cert.is_none() && raw.key.is_none() {
        old.certificate.clone()
    } else {
        let files = raw::CertificateFiles {
            cert: raw.cert.clone(),
            key: raw.key.clone(),
            ocsp: None,
        };
        certificate(&files, path, report)
    };
    let settings = ClientSettings {
        ca: (raw.ca.as_ref())
            .map(|raw| raw.0.clone())
            .or_else(|| old.ca.clone()),
        certificate,
        server_name: (raw.server_name.as_ref())
            .map(|raw| raw.0.clone())
            .or_else(|| old.server_name.clone()),
        verify: raw.verify.as_ref().map_or(old.verify, |raw| raw.0),
    };
    if raw.verify.as_ref().is_some_and(|raw| !raw.0) {
        report.warning(
            &path.key("verify"),
            "lets anybody pass for an instance who can get between it and callboard (expected on, \
             with the instances' issuer in ca)",
        );
    }
    if settings == *old && base.host_suffix() == host_suffix {
        return Arc::clone(base);
    }
    match Client::load(settings, host_suffix) {
        Ok(client) => Arc::new(client),
        Err(wrong) => {
            report.error(&path.key(&wrong.field), wrong.problem);
            Arc::clone(base)
        }
    }
}

/// `proxy.acme`.
pub(super) fn acme(raw: &raw::Acme, path: &Path, report: &mut Report) -> Option<acme::Settings> {
    let default = acme::Settings::default();
    if !raw.terms_agreed.as_ref().is_some_and(|raw| raw.0) {
        if report.whole(path) {
            let message = "does not agree to the terms of the ACME server (expected terms_agreed: \
                           on, once you have read them)";
            report.error(path, message);
        }
        return None;
    }
    let settings = acme::Settings {
        directory: raw
            .directory
            .as_ref()
            .map_or(default.directory, |raw| raw.0.clone()),
        contact: raw.contact.0.iter().map(|raw| raw.0.clone()).collect(),
        path: raw.path.as_ref().map_or(default.path, |raw| raw.0.clone()),
        ca: raw.ca.as_ref().map(|raw| raw.0.clone()),
    };
    if let Err(problem) = settings.check_ca() {
        report.error(&path.key("ca"), problem);
    }
    Some(settings)
}
