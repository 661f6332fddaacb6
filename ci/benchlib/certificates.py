"""A certificate authority for one session, and the certificate that it signs for the servers."""

import contextlib
import subprocess
import tempfile
from pathlib import Path

from .errors import BenchError

# ECDSA on P-256, as most public certificates have today.
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
AUTHORITY = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
SERVER = """
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost,IP:127.0.0.1
"""


class Certificates:
    """The files, all in PEM: `authority` signed `chain`, which `key` belongs to."""

    def __init__(self, folder):
        self.authority, self.chain, self.key = (str(folder / name) for name in ("authority.pem", "server.pem", "server.key"))


@contextlib.contextmanager
def made(tools):
    """Makes the files for the length of a `with` block. The certificate is for localhost and 127.0.0.1."""
    with tempfile.TemporaryDirectory(prefix="ringtide-certificates-") as name:
        folder = Path(name)
        certificates = Certificates(folder)
        (folder / "server.ext").write_text(SERVER)
        authority_key, request = str(folder / "authority.key"), str(folder / "server.csr")

        def openssl(*arguments):
            command = [tools["openssl"], *arguments]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if done.returncode != 0:
                raise BenchError(f"`{' '.join(command)}` exited with {done.returncode}:\n{done.stderr}")

        openssl("req", "-x509", *KEY, "-days", "2", "-subj", "/CN=ringtide bench", *AUTHORITY,
                "-keyout", authority_key, "-out", certificates.authority)
        openssl("req", *KEY, "-subj", "/CN=localhost", "-keyout", certificates.key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", certificates.authority, "-CAkey", authority_key, "-CAcreateserial",
                "-days", "2", "-extfile", str(folder / "server.ext"), "-out", certificates.chain)
        yield certificates
