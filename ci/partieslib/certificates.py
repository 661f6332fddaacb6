"""Certificates, good and bad, made by openssl: nothing that judges them here has also made them."""

import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

CONFIGURATION = """
[ca]
default_ca = this
[this]
database = {folder}/index.txt
rand_serial = yes
new_certs_dir = {folder}
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[own_authority]
basicConstraints = critical, CA:TRUE
subjectAltName = DNS:localhost
[server]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
[elsewhere]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:www.example.org, DNS:example.org
[client]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = clientAuth
"""

ECDSA = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
RSA = ("-newkey", "rsa:2048")


class Certificates:
    """A folder with certificates and their keys: `cert("ecdsa")` and `key("ecdsa")` are files."""

    def __init__(self, openssl, folder):
        self.openssl, self.folder = openssl, Path(folder)
        self.configuration = self.folder / "openssl.cnf"
        self.configuration.write_text(CONFIGURATION.format(folder=folder))
        (self.folder / "index.txt").touch()
        self._authority("ca")
        self._authority("other-ca")
        now = datetime.now(timezone.utc)
        long_ago, yesterday, tomorrow = now - timedelta(days=30), now - timedelta(days=1), now + timedelta(days=30)
        self.expired_on = yesterday
        self._signed("ecdsa", "server", key=ECDSA)
        self._signed("rsa", "server", key=RSA)
        self._signed("client", "client")
        self._signed("expired", "server", begin=long_ago, end=yesterday)
        self._signed("early", "server", begin=tomorrow, end=tomorrow + timedelta(days=30))
        self._signed("elsewhere", "elsewhere")
        self._signed("unknown", "server", by="other-ca")
        self._signed("stranger", "client", by="other-ca")
        self._self_signed("self-signed", "server", ECDSA)
        # As `openssl req -x509` makes them if it is not told otherwise.
        self._self_signed("own-authority", "own_authority", ECDSA)

    def cert(self, name):
        return self.folder / f"{name}.pem"

    def key(self, name):
        return self.folder / f"{name}.key"

    def both(self, name):
        """One file with certificate and key, as haproxy wants it."""
        file = self.folder / f"{name}.both.pem"
        file.write_bytes(self.cert(name).read_bytes() + self.key(name).read_bytes())
        return file

    @property
    def ca(self):
        return self.cert("ca")

    def _authority(self, name):
        self._self_signed(name, "authority", ECDSA)

    def _self_signed(self, name, extensions, key):
        self._openssl("req", "-x509", *key, "-nodes", "-keyout", self.key(name), "-out", self.cert(name),
                      "-days", "30", "-subj", f"/CN={name}", "-extensions", extensions)

    def _signed(self, name, extensions, key=ECDSA, by="ca", begin=None, end=None):
        request = self.folder / f"{name}.csr"
        self._openssl("req", "-new", *key, "-nodes", "-keyout", self.key(name), "-out", request, "-subj", f"/CN={name}")
        begin = begin or datetime.now(timezone.utc) - timedelta(hours=1)
        end = end or begin + timedelta(days=30)
        self._openssl("ca", "-batch", "-notext", "-in", request, "-out", self.cert(name), "-cert", self.cert(by),
                      "-keyfile", self.key(by), "-extensions", extensions,
                      "-startdate", f"{begin:%Y%m%d%H%M%SZ}", "-enddate", f"{end:%Y%m%d%H%M%SZ}")

    def _openssl(self, command, *arguments):
        full = [self.openssl, command, "-config", self.configuration, *arguments]
        done = subprocess.run([str(part) for part in full], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(f"`{' '.join(done.args)}` exited with {done.returncode}: {done.stderr}")
