"""Serves moto on a free port of 127.0.0.1, prints the port, and ends when standard input closes.

The test binary holds the other end of standard input, so the server cannot outlive it, however the binary ends.
"""

import functools
import logging
import os
import sys
import threading

from moto import backends
from moto.core import DEFAULT_ACCOUNT_ID, responses
from moto.iam import models as iam
from moto.kms import models as kms
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server


def end_with_parent():
    """Standard input carries nothing: its end is the end of the parent."""
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


accounts = {}


def account_of(access_key):
    """The account of an access key, as moto finds it; moto looks through all accounts for each request, and makes them in all partitions on the way."""

    def holds(account):
        return any(access_key in backend.access_keys for backend in list(dict.values(iam.iam_backends[account])))

    known = accounts.get(access_key)
    if known in iam.iam_backends and holds(known):
        return known
    for account in list(iam.iam_backends):
        if holds(account):
            accounts[access_key] = account
            return account
    return DEFAULT_ACCOUNT_ID


iam.get_account_id_from = account_of

# Half of moto's time went into what it works out anew for each request, or each key: the private half of keys that nothing is signed with, the names of
# a class's methods, the folders of its own package. The answers stay as they are.
kms.generate_private_key = functools.cache(kms.generate_private_key)
responses.method_names_from_class = functools.cache(responses.method_names_from_class)
backends.list_of_moto_modules = functools.cache(lambda find=backends.list_of_moto_modules: tuple(find()))

logging.getLogger("werkzeug").setLevel(logging.ERROR)
threading.Thread(target=end_with_parent, daemon=True).start()
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
