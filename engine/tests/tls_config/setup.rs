//! Every error of the options, by its text.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::KeyPair;
use ringtide::tls::rustls::pki_types::CertificateDer;
use ringtide::tls::{
    ClientAuthentication, ClientTls, ClientTlsOptions, Identity, ServerTls, ServerTlsOptions, SetupError,
    Trust, Version, read_certificates,
};

use super::Authority;

/// A folder of one test, removed at its end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringtide-tls-{}-{test}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A certificate and its key, as PEM.
fn pem() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn text<T>(result: Result<T, SetupError>) -> String {
    match result {
        Ok(_) => panic!("it should fail"),
        Err(error) => error.to_string(),
    }
}

fn server_text(options: &ServerTlsOptions) -> String {
    let identity = Identity::self_signed(&["localhost"]).unwrap();
    text(ServerTls::new(&options.clone().identity(identity)))
}

/// Replaces the path by its file name, which the texts below have.
fn short(text: &str, path: &Path) -> String {
    text.replace(&path.display().to_string(), path.file_name().unwrap().to_str().unwrap())
}

#[test]
fn good_files_are_read() {
    let folder = Folder::new("good");
    let (certificate, key) = pem();
    let (other, _) = pem();
    // Text between the sections and sections of other kinds do not matter.
    let both = folder.write("both.pem", &format!("a comment\n{certificate}{key}{other}"));
    let identity = Identity::from_pem_files(&both, &both).unwrap();
    assert_eq!(identity.chain().len(), 2);
    assert_eq!(identity.dns_names(), ["localhost"]);
    assert_eq!(read_certificates(&both).unwrap(), identity.chain());
    let crlf = folder.write("crlf.pem", &certificate.replace('\n', "\r\n"));
    assert_eq!(read_certificates(crlf).unwrap(), identity.chain()[..1]);
}

#[test]
fn files_at_fault_are_named() {
    let folder = Folder::new("files");
    let (certificate, key) = pem();
    let (_, other_key) = pem();
    let certificates = folder.write("certificate.pem", &certificate);
    let keys = folder.write("key.pem", &key);

    let missing = folder.path("missing.pem");
    let told = text(read_certificates(&missing));
    assert_eq!(short(&told, &missing), "missing.pem: No such file or directory (os error 2)");

    let told = text(read_certificates(&keys));
    let expected = "key.pem: has no certificate; expected a PEM file with '-----BEGIN CERTIFICATE-----'";
    assert_eq!(short(&told, &keys), expected);

    let told = text(Identity::from_pem_files(&certificates, &certificates));
    let expected =
        "certificate.pem: has no private key; expected a PEM file with '-----BEGIN PRIVATE KEY-----'";
    assert_eq!(short(&told, &certificates), expected);

    let encrypted = folder.write("encrypted.pem", &key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"));
    let told = text(Identity::from_pem_files(&certificates, &encrypted));
    let expected = "encrypted.pem: the private key is encrypted; decrypt it first (openssl pkey)";
    assert_eq!(short(&told, &encrypted), expected);

    let other = folder.write("other.pem", &other_key);
    let told = text(Identity::from_pem_files(&certificates, &other));
    let told = short(&short(&told, &other), &certificates);
    assert_eq!(
        told,
        "the private key in other.pem does not belong to the first certificate in certificate.pem"
    );

    // The second section, at line 2 + that of the first.
    let lines = certificate.lines().count();
    let damaged =
        folder.write("damaged.pem", &format!("\n{certificate}{}", certificate.replacen("MII", "M*I", 1)));
    let told = short(&text(read_certificates(&damaged)), &damaged);
    let expected = format!("damaged.pem: the PEM section at line {} is damaged: ", lines + 2);
    assert!(told.starts_with(&expected), "{told}");

    let cut = folder.write("cut.pem", certificate.split_once("-----END").unwrap().0);
    let told = short(&text(read_certificates(&cut)), &cut);
    assert!(told.starts_with("cut.pem: the PEM section at line 1 is damaged: "), "{told}");

    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let garbage = folder.write("garbage.pem", &format!("{certificate}{garbage}"));
    let told = short(&text(read_certificates(&garbage)), &garbage);
    let expected = format!("garbage.pem, line {}: cannot parse the certificate: ", lines + 1);
    assert!(told.starts_with(&expected), "{told}");

    let garbage = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let garbage = folder.write("key.garbage", garbage);
    let told = short(&text(Identity::from_pem_files(&certificates, &garbage)), &garbage);
    assert!(told.starts_with("key.garbage: cannot use the private key: "), "{told}");
}

#[test]
fn unknown_names_come_with_the_known_ones() {
    let trusting = ClientTlsOptions::default().trust(Trust::WebpkiRoots);
    let told = text(ClientTls::new(&trusting.clone().groups(["X25519", "P-257"])));
    let known = "X25519MLKEM768, SecP256r1MLKEM768, X25519, P-256, P-384, MLKEM768, MLKEM1024";
    assert_eq!(told, format!("unknown key-exchange group 'P-257'; known are {known}"));
    assert_eq!(server_text(&ServerTlsOptions::default().groups(["P-257"])), told);

    let told = text(ClientTls::new(&trusting.cipher_suites(["RC4-MD5"])));
    let expected =
        "unknown cipher suite 'RC4-MD5'; known are TLS_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256, ";
    assert!(told.starts_with(expected), "{told}");
    assert_eq!(server_text(&ServerTlsOptions::default().cipher_suites(["RC4-MD5"])), told);

    assert_eq!(text("1.1".parse::<Version>()), "unknown TLS version '1.1'; known are 1.2, 1.3");
    for (name, version) in [("1.2", Version::Tls12), ("TLSv1.3", Version::Tls13), ("tls 1.3", Version::Tls13)]
    {
        assert_eq!(name.parse::<Version>().unwrap(), version);
    }
}

#[test]
fn every_known_name_can_be_used() {
    let trusting = ClientTlsOptions::default().trust(Trust::WebpkiRoots);
    let known = |result: Result<ClientTls, SetupError>| match result {
        Err(SetupError::UnknownName { known, .. }) => known,
        other => panic!("{other:?}"),
    };
    for suite in known(ClientTls::new(&trusting.clone().cipher_suites(["?"]))) {
        ClientTls::new(&trusting.clone().cipher_suites([suite])).expect(suite);
    }
    for group in known(ClientTls::new(&trusting.clone().groups(["?"]))) {
        ClientTls::new(&trusting.clone().groups([group])).expect(group);
    }
    for group in ["secp256r1", "prime256v1", "SECP384R1", "x25519"] {
        ClientTls::new(&trusting.clone().groups([group])).expect(group);
    }
}

#[test]
fn combinations_that_cannot_work() {
    let trusting = ClientTlsOptions::default().trust(Trust::WebpkiRoots);
    let told =
        text(ClientTls::new(&trusting.clone().min_version(Version::Tls13).max_version(Version::Tls12)));
    assert_eq!(told, "the lowest TLS version, 1.3, is above the highest, 1.2");
    let reversed = ServerTlsOptions::default().min_version(Version::Tls13).max_version(Version::Tls12);
    assert_eq!(server_text(&reversed), told);

    let old = trusting.clone().min_version(Version::Tls13).cipher_suites(["ECDHE-RSA-AES128-GCM-SHA256"]);
    assert_eq!(text(ClientTls::new(&old)), "none of the cipher suites belongs to TLS 1.3");

    let new = trusting.clone().max_version(Version::Tls12).groups(["X25519MLKEM768"]);
    assert_eq!(
        text(ClientTls::new(&new)),
        "none of the key-exchange groups can be used with the enabled TLS versions and cipher suites"
    );

    let told = text(ClientTls::new(&trusting.clone().alpn([""])));
    assert_eq!(told, "the name of an application protocol (ALPN) is empty");
    assert_eq!(server_text(&ServerTlsOptions::default().alpn([""])), told);
    let told = text(ClientTls::new(&trusting.clone().alpn(["x".repeat(256)])));
    assert!(told.ends_with("has 256 bytes; 255 is the maximum"), "{told}");

    let told = text(ClientTls::new(&trusting.clone().server_name("no name")));
    assert_eq!(told, "'no name' is neither a DNS name nor an IP address");
    assert_eq!(text(Identity::self_signed(&["näher"])), "'näher' is neither a DNS name nor an IP address");

    let nowhere = PathBuf::from("/nowhere/keys.log");
    let expected = "/nowhere/keys.log: No such file or directory (os error 2)";
    assert_eq!(text(ClientTls::new(&trusting.key_log(nowhere.clone()))), expected);
    assert_eq!(server_text(&ServerTlsOptions::default().key_log(nowhere)), expected);
}

#[test]
fn trust_in_nobody_and_in_something_that_is_no_certificate() {
    let told = text(ClientTls::new(&ClientTlsOptions::default().trust(Trust::Given)));
    assert_eq!(told, "no authority was given to check certificates against");
    let nobody =
        ServerTlsOptions::default().client_authentication(ClientAuthentication::Required(Vec::new()));
    assert_eq!(server_text(&nobody), told);

    let authorities = vec![Authority::new("ours").certificate(), CertificateDer::from(vec![0; 4])];
    for trust in [Trust::Platform, Trust::WebpkiRoots, Trust::Given] {
        let options = ClientTlsOptions::default().trust(trust).authorities(authorities.clone());
        let told = text(ClientTls::new(&options));
        assert!(told.starts_with("authority 2: cannot parse the certificate: "), "{told}");
    }
}

#[cfg(not(target_vendor = "apple"))]
#[test]
fn a_system_without_authorities() {
    const CHILD: &str = "RINGTIDE_TLS_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let told = text(ClientTls::new(&ClientTlsOptions::default()));
        assert!(told.starts_with("cannot find the authorities that this system trusts: "), "{told}");
        return;
    }
    // A process of its own, as the variables that name the system's authorities are the whole process's.
    let folder = Folder::new("no_authorities");
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "setup::a_system_without_authorities"])
        .env(CHILD, "1")
        .env("SSL_CERT_FILE", folder.write("empty.pem", ""))
        .env("SSL_CERT_DIR", folder.path("."))
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn a_server_needs_a_certificate() {
    let told = text(ServerTls::new(&ServerTlsOptions::default()));
    assert_eq!(told, "a TLS server needs a certificate and its private key");
    let key = KeyPair::generate().unwrap();
    assert_eq!(text(Identity::new(Vec::new(), key.into())), told);
}
