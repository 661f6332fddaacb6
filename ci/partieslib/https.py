"""An https server that echoes bodies, one for each object of the JSON in its argument. Prints of each request: the port, the
version, whether the session was resumed, and the application protocol.
"""

import json
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE_SIZE = 10_000


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave one by one, and the second would wait for a delayed acknowledgement of the first.
    disable_nagle_algorithm = True

    def setup(self):
        # The handshake is this thread's, so that no client holds up another.
        self.request.do_handshake()
        super().setup()

    def do_GET(self):
        self.note()
        self.reply(b"hello world\n")

    def do_POST(self):
        self.note()
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.reply(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while size := int(self.rfile.readline(), 16):
            left = size
            while left:
                piece = self.rfile.read(min(left, PIECE_SIZE))
                left -= len(piece)
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.rfile.readline()
        self.rfile.readline()
        self.wfile.write(b"0\r\n\r\n")

    def reply(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def note(self):
        tls = self.connection
        kind = "resumed" if tls.session_reused else "full"
        line = f"{self.server.server_port} {tls.version()} {kind} {tls.selected_alpn_protocol() or '-'}\n"
        sys.stderr.write(line)
        sys.stderr.flush()

    def log_message(self, *_):
        pass


class HttpsServer(ThreadingHTTPServer):
    request_queue_size = 1024

    def __init__(self, block):
        super().__init__(("127.0.0.1", block["port"]), Echo)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(block["cert"], block["key"])
        context.set_alpn_protocols(["http/1.1"])
        if block["ca"]:
            context.load_verify_locations(block["ca"])
            context.verify_mode = ssl.CERT_REQUIRED
        if block["groups"]:
            # Python names one group only.
            context.set_ecdh_curve(block["groups"].split(":")[0].replace("P-256", "prime256v1"))
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, *_):
        # What a client did wrong is what the check wants to see.
        print(f"failed: {sys.exc_info()[1]!r}", file=sys.stderr, flush=True)

    def shutdown_request(self, request):
        # With close_notify, which the class of the library does not send.
        try:
            request.unwrap()
        except OSError:
            pass
        self.close_request(request)


def main():
    servers = [HttpsServer(block) for block in json.loads(sys.argv[1])]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


main()
