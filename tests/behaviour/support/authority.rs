//! An issuer of certificates.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SanType,
};

/// The issuer, and the folder in which its certificates lie.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: tempfile::TempDir,
    pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = named("authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        fs::write(folder.path().join("ca.key"), key.serialize_pem()).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            folder,
            pem: certificate.pem(),
        }
    }

    /// Writes `{file}.pem` and `{file}.key`, a certificate with these alternative names; the first is its
    /// common name, too.
    pub(crate) fn issue(&self, file: &str, names: &[&str]) {
        self.issue_with(file, names, |_| {});
    }

    /// As [`Authority::issue`], with something else about it.
    pub(crate) fn issue_with(
        &self,
        file: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let mut params = named(names[0]);
        let is_uri = |name: &&&str| name.contains("://");
        let hosts: Vec<_> = names.iter().filter(|name| !is_uri(name)).collect();
        let hosts = hosts.iter().map(ToString::to_string).collect::<Vec<_>>();
        params.subject_alt_names = CertificateParams::new(hosts).unwrap().subject_alt_names;
        for uri in names.iter().filter(is_uri) {
            let uri = Ia5String::try_from(*uri).unwrap();
            params.subject_alt_names.push(SanType::URI(uri));
        }
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
        fs::write(self.path(&format!("{file}.pem")), certificate.pem()).unwrap();
    }

    /// `cert: …, key: …` of what was issued as `file`.
    pub(crate) fn pair(&self, file: &str) -> String {
        let folder = self.folder().display();
        format!("cert: {folder}/{file}.pem, key: {folder}/{file}.key")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder().join(file)
    }

    /// A client that believes this issuer alone, and finds every name of `names` at this machine.
    pub(crate) fn client(&self, names: &[&str]) -> reqwest::ClientBuilder {
        let trusted = reqwest::Certificate::from_pem(self.pem.as_bytes()).unwrap();
        let here = ([127, 0, 0, 1], 0).into();
        names.iter().fold(
            reqwest::Client::builder().tls_certs_only([trusted]),
            |client, name| client.resolve(name, here),
        )
    }

    /// The certificate and key issued as `file`, for a client to show.
    pub(crate) fn identity(&self, file: &str) -> reqwest::Identity {
        let read = |ending: &str| fs::read(self.path(&format!("{file}.{ending}"))).unwrap();
        reqwest::Identity::from_pem(&[read("key"), read("pem")].concat()).unwrap()
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
