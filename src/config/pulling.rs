//! Which registries to mirror, and what is needed to reach them.

use std::path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::raw::{PullSettings, PullTokenSettings};
use super::report::{Path, Report};
use super::scalar::RegistryUrl;
use super::shape::Several;
use super::variants::{Pull, PullToken};
use crate::files;
use crate::pull::{Origin, Settings, Token};

/// The most registries to choose from.
const MAX_REGISTRIES: usize = 64;
/// The longest file with a token or certificates, in bytes: room for every authority of a system.
const MAX_BYTES: u64 = 1024 * 1024;

/// What `registry.pull` says; `None` if it is left out.
pub(super) fn pull(raw: Option<&Pull>, path: &Path, report: &mut Report) -> Option<Settings> {
    let Pull(PullSettings { from, token, ca }) = raw?;
    // Where the list stands in place of the mapping, the report finds it around this path.
    let from = origins(from.as_ref(), &path.key("from"), report);
    let token_path = path.key("token");
    let token = token
        .as_ref()
        .and_then(|PullToken(raw)| self::token(raw, &token_path, report));
    let ca_path = path.key("ca");
    let authorities = match ca {
        Some(ca) => authorities(&ca.0, &ca_path, report),
        None => Vec::new(),
    };
    if ca.is_some() && !from.iter().any(Origin::is_encrypted) {
        report.warning(&ca_path, "has no effect (expected https:// in from)");
    }
    let exposed = from
        .iter()
        .find(|origin| !origin.is_encrypted() && !origin.is_loopback());
    if let (Some(exposed), Some(_)) = (exposed, &token) {
        let message =
            format!("is sent to {exposed} for all on the way to read (expected https://)");
        report.warning(&token_path, message);
    }
    Some(Settings {
        from,
        token,
        ca: authorities,
    })
}

fn origins(raw: Option<&Several<RegistryUrl>>, path: &Path, report: &mut Report) -> Vec<Origin> {
    let raw = raw.map_or(&[][..], |Several(urls)| urls);
    if raw.is_empty() && report.whole(path) {
        let message = "names no registry (expected a URL such as http://10.0.0.1:8500)";
        report.error(path, message);
    }
    if raw.len() > MAX_REGISTRIES {
        let message = format!("has too many items (expected at most {MAX_REGISTRIES})");
        report.error(path, message);
    }
    let mut origins = Vec::new();
    for (position, RegistryUrl(origin)) in raw.iter().take(MAX_REGISTRIES).enumerate() {
        if origins.contains(origin) {
            let message = format!("{origin} is named a second time (expected once)");
            report.error(&path.item(position), message);
        }
        origins.push(origin.clone());
    }
    origins
}

/// The token, which no message repeats.
fn token(raw: &PullTokenSettings, path: &Path, report: &mut Report) -> Option<Token> {
    let (path, found) = match (&raw.env, &raw.file) {
        (Some(variable), None) => {
            let name = &variable.0;
            let found =
                std::env::var(name).map_err(|_| "this variable is not set, or not text".to_owned());
            (path.key("env"), found)
        }
        (None, Some(file)) => (path.key("file"), read(&file.0)),
        _ => {
            if report.whole(path) {
                report.error(
                    path,
                    "names no place, or two (expected {env: NAME} or {file: PATH})",
                );
            }
            return None;
        }
    };
    match found.and_then(|text| text.parse().map_err(|error| format!("the token {error}"))) {
        Ok(token) => Some(token),
        Err(wrong) => {
            report.error(
                &path,
                format!("{wrong} (expected a token of visible ASCII characters)"),
            );
            None
        }
    }
}

fn authorities(
    file: &path::Path,
    path: &Path,
    report: &mut Report,
) -> Vec<CertificateDer<'static>> {
    let wrong = match read(file) {
        Err(wrong) => wrong,
        Ok(pem) => {
            match CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>() {
                Ok(certificates) if !certificates.is_empty() => return certificates,
                Ok(_) => format!("{} holds no certificate", file.display()),
                Err(error) => format!("{}: {error}", file.display()),
            }
        }
    };
    report.error(path, format!("{wrong} (expected certificates in PEM)"));
    Vec::new()
}

fn read(file: &path::Path) -> Result<String, String> {
    files::read_text(file, MAX_BYTES)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))
}
