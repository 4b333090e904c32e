//! Certificates of a test, made when it begins.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, SanType,
};

/// A folder with two authorities (`ca`, `other-ca`), a server (`server`, `server-rsa`)
/// clients (`client`; `bare`, which has no names but its subject's) and a server whose
/// certificate has a response of OCSP (`must-staple`) of the first, and a client of the other (`stranger`): each `NAME.pem` and `NAME.key`.
pub struct Files(tempfile::TempDir);

impl Files {
    pub fn new() -> Self {
        let files = Self(tempfile::tempdir().expect("a folder"));
        let ca = files.authority("ca");
        let other = files.authority("other-ca");
        files.issue("server", &["a.test", "*.b.test"], "spiffe://x/server", &ca);
        let rsa = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
        files.issue_with("server-rsa", &["r.test"], "spiffe://x/rsa", &ca, &rsa);
        files.issue("client", &["client.test"], "spiffe://x/client", &ca);
        files.issue_bare("bare", &ca);
        files.issue_must_staple("must-staple", &ca);
        files.issue(
            "stranger",
            &["stranger.test"],
            "spiffe://x/stranger",
            &other,
        );
        files
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    /// A file with several certificates, one after the other.
    pub fn chain(&self, name: &str, of: &[&str]) {
        let read = |name: &&str| {
            let path = self.path(&format!("{name}.pem"));
            std::fs::read_to_string(path).expect("a certificate")
        };
        let text: String = of.iter().map(read).collect();
        self.write(&format!("{name}.pem"), &text);
    }

    fn authority(&self, name: &str) -> Issuer<'static, KeyPair> {
        self.authority_of(name, params(name, &[]))
    }

    /// One whose certificate ends with that year.
    pub fn authority_until(&self, name: &str, year: i32) {
        let mut params = params(name, &[]);
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 12, 31);
        self.authority_of(name, params);
    }

    fn authority_of(&self, name: &str, mut params: CertificateParams) -> Issuer<'static, KeyPair> {
        let key = KeyPair::generate().expect("a key");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
        Issuer::new(params, key)
    }

    fn issue(&self, name: &str, hosts: &[&str], uri: &str, by: &Issuer<'_, KeyPair>) {
        let key = KeyPair::generate().expect("a key");
        self.issue_with(name, hosts, uri, by, &key);
    }

    fn issue_bare(&self, name: &str, by: &Issuer<'_, KeyPair>) {
        let key = KeyPair::generate().expect("a key");
        self.sign(name, &params(name, &[]), by, &key);
    }

    /// A certificate that says that it comes with a response of OCSP.
    fn issue_must_staple(&self, name: &str, by: &Issuer<'_, KeyPair>) {
        let key = KeyPair::generate().expect("a key");
        let mut params = params(name, &["m.test"]);
        let feature = CustomExtension::from_oid_content(
            &[1, 3, 6, 1, 5, 5, 7, 1, 24],
            vec![0x30, 3, 2, 1, 5],
        );
        params.custom_extensions.push(feature);
        self.sign(name, &params, by, &key);
    }

    /// Certificates of clients under an authority of their own (`root`): one that is
    /// `fine`, one that is `over` and one that is `not-yet`, one with another name
    /// (`other`), one whose name only begins like the wanted one, before a NUL (`nul`),
    /// one that another certificate of a client has issued (`no-ca`), and those below so
    /// many authorities, each issued by the one before (`deep-20`, `deep-101`,
    /// `deep-200`).
    pub fn issue_doubtful(&self) {
        let root = self.authority("root");
        let wanted = || params("client", &["client.test"]);
        let issue = |name: &str, params: &CertificateParams, by: &Issuer<'_, KeyPair>| {
            let key = KeyPair::generate().expect("a key");
            self.sign(name, params, by, &key);
            key
        };
        let fine = issue("fine", &wanted(), &root);
        let mut over = wanted();
        over.not_before = rcgen::date_time_ymd(2000, 1, 1);
        over.not_after = rcgen::date_time_ymd(2001, 1, 1);
        issue("over", &over, &root);
        let mut not_yet = wanted();
        not_yet.not_before = rcgen::date_time_ymd(2090, 1, 1);
        not_yet.not_after = rcgen::date_time_ymd(2091, 1, 1);
        issue("not-yet", &not_yet, &root);
        issue("other", &params("client", &["other.test"]), &root);
        let mut nul = wanted();
        let name = "client.test\0.evil.test".try_into().expect("ASCII");
        nul.subject_alt_names = vec![SanType::DnsName(name)];
        issue("nul", &nul, &root);
        issue("no-ca", &wanted(), &Issuer::new(wanted(), fine));
        self.chain("no-ca", &["no-ca", "fine"]);
        for depth in [20, 101, 200] {
            self.issue_below(depth, &root);
        }
    }

    /// A certificate of a client below so many authorities, in a file with theirs.
    fn issue_below(&self, depth: usize, root: &Issuer<'_, KeyPair>) {
        let mut authorities = Vec::new();
        let mut by: Option<Issuer<'_, KeyPair>> = None;
        for level in 0..depth {
            let mut params = params(&format!("authority {level} of {depth}"), &[]);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().expect("a key");
            let issued = params.signed_by(&key, by.as_ref().unwrap_or(root));
            authorities.push(issued.expect("a certificate").pem());
            by = Some(Issuer::new(params, key));
        }
        let name = format!("deep-{depth}");
        let key = KeyPair::generate().expect("a key");
        let leaf = params("client", &["client.test"]);
        let leaf = leaf.signed_by(&key, by.as_ref().unwrap_or(root));
        let leaf = leaf.expect("a certificate").pem();
        authorities.reverse();
        self.write(&format!("{name}.pem"), &(leaf + &authorities.concat()));
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    fn issue_with(
        &self,
        name: &str,
        hosts: &[&str],
        uri: &str,
        by: &Issuer<'_, KeyPair>,
        key: &KeyPair,
    ) {
        let mut params = params(name, hosts);
        let uri = uri.try_into().expect("a URI");
        params.subject_alt_names.push(SanType::URI(uri));
        self.sign(name, &params, by, key);
    }

    fn sign(
        &self,
        name: &str,
        params: &CertificateParams,
        by: &Issuer<'_, KeyPair>,
        key: &KeyPair,
    ) {
        let certificate = params.signed_by(key, by).expect("a certificate");
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file");
    }
}

fn params(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("names of hosts");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Test");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
