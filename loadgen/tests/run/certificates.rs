//! Certificates for tests: an authority, what it issues, and their files.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use ringtide::tls::Identity;

/// An authority, with a directory for files that is removed at the end.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ringtide-tls-{}-{}", std::process::id(), COUNT.fetch_add(1, SeqCst));
        let directory = std::env::temp_dir().join(&name);
        std::fs::create_dir(&directory).expect("the temporary directory can be written");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        std::fs::write(directory.join("ca.pem"), issuer.pem()).expect("it can be written");
        Self { issuer, directory }
    }

    /// Returns the path of its own certificate.
    pub(crate) fn path(&self) -> String {
        self.file("ca.pem")
    }

    /// Returns the path of a file in its directory.
    pub(crate) fn file(&self, name: &str) -> String {
        self.directory.join(name).to_str().expect("UTF-8").to_owned()
    }

    /// Issues a certificate for these names. `edit` may change it before.
    pub(crate) fn issue(&self, names: &[&str], edit: impl FnOnce(&mut CertificateParams)) -> Identity {
        let (cert, key) = self.issue_files(names, edit);
        Identity::from_pem_files(Path::new(&cert), Path::new(&key)).expect("an identity")
    }

    /// Issues a certificate, and returns the paths of its file and of its key.
    pub(crate) fn issue_files(
        &self,
        names: &[&str],
        edit: impl FnOnce(&mut CertificateParams),
    ) -> (String, String) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, SeqCst);
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, "somebody");
        edit(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let paths = (self.file(&format!("{number}.pem")), self.file(&format!("{number}.key")));
        std::fs::write(&paths.0, certificate.pem()).expect("it can be written");
        std::fs::write(&paths.1, key.serialize_pem()).expect("it can be written");
        paths
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        // If this fails, the files stay in the temporary directory.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
