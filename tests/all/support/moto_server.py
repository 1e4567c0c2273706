"""Serves moto on a free port of 127.0.0.1, prints the port, and ends when standard input closes.

The test binary holds the other end of standard input, so the server cannot outlive it, however the binary ends.
"""

import logging
import os
import sys
import threading

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server


def end_with_parent():
    """Standard input carries nothing: its end is the end of the parent."""
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


logging.getLogger("werkzeug").setLevel(logging.ERROR)
threading.Thread(target=end_with_parent, daemon=True).start()
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
