"""Serves one answer over TLS on a free port of 127.0.0.1, prints the port, and ends when standard input closes: tls_server.py FOLDER ANSWER

Its certificate is of an authority that nobody knows, whose own certificate is put into FOLDER/ca.pem.
"""

import datetime
import http.server
import ipaddress
import pathlib
import ssl
import sys
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

folder, answer = pathlib.Path(sys.argv[1]), sys.argv[2].encode()
now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)


def certificate(subject, issuer, signed_with, extensions):
    """A certificate of the subject's key, as PEM; subject and issuer are names with their keys."""
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name, _ in (subject, issuer)]
    builder = x509.CertificateBuilder(names[1], names[0], subject[1].public_key(), x509.random_serial_number(), now - day, now + day)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signed_with, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


authority = ("an authority of the tests", ec.generate_private_key(ec.SECP256R1()))
server = ("a server of the tests", ec.generate_private_key(ec.SECP256R1()))
here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
signs = x509.BasicConstraints(ca=True, path_length=None)
(folder / "ca.pem").write_bytes(certificate(authority, authority, authority[1], [signs]))
own = certificate(server, authority, authority[1], [here])
key = server[1].private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
(folder / "server.pem").write_bytes(key + own)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
served.daemon_threads = True
served.handle_error = lambda *_: None  # A client that does not trust it says so, and goes away.
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder / "server.pem")
# The handshake is the connection's thread's: one that fails must not hold up the others.
served.socket = context.wrap_socket(served.socket, server_side=True, do_handshake_on_connect=False)
threading.Thread(target=served.serve_forever, daemon=True).start()
print(served.server_port, flush=True)
sys.stdin.buffer.read()
