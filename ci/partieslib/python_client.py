"""A TLS client on Python's ssl module, which resumes sessions and can end a connection in bad ways."""

import contextlib
import http.client
import socket
import ssl

SECONDS_MAX = 10


class PythonClient:
    def __init__(self, certificates, version=None):
        self.context = ssl.create_default_context(cafile=str(certificates.ca))
        self.context.set_alpn_protocols(["http/1.1"])
        if version:
            exact = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
            self.context.minimum_version = self.context.maximum_version = exact
        self.session = None

    @contextlib.contextmanager
    def connect(self, port):
        """Resumes the session of the last connection."""
        plain = socket.create_connection(("127.0.0.1", port), SECONDS_MAX)
        with self.context.wrap_socket(plain, server_hostname="localhost", session=self.session) as stream:
            yield Connection(stream)
            self.session = stream.session


class Connection:
    def __init__(self, stream):
        self.stream = stream

    def facts(self):
        return self.stream.version(), self.stream.selected_alpn_protocol(), self.stream.session_reused

    def get(self, path):
        self.stream.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return self.response()

    def response(self):
        response = http.client.HTTPResponse(self.stream)
        response.begin()
        return response.status, response.read()
