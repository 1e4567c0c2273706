"""Serves moto on a free port of 127.0.0.1, prints the port, and ends when standard input closes.

The test binary holds the other end of standard input, so the server cannot outlive it, however the binary ends.
"""

import functools
import gc
import io
import logging
import os
import sys
import threading
import traceback
from http import client

import xmltodict
from moto import backends
from moto.core import DEFAULT_ACCOUNT_ID, base_backend, responses, serialize
from moto.core.utils import MISSING, get_value
from moto.iam import models as iam
from moto.kms import models as kms
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.exceptions import InternalServerError
from werkzeug.serving import WSGIRequestHandler, make_server


def end_with_parent():
    """Standard input carries nothing: its end is the end of the parent."""
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


accounts = {}


def account_of(access_key):
    """The account of an access key, as moto finds it; moto looks through all accounts for each request, and makes them in all partitions on the way."""
    # No key of IAM has fewer characters (IAM API reference, AccessKey). Such a key is a stranger's, for which all accounts were looked through.
    if len(access_key) < 16:
        return DEFAULT_ACCOUNT_ID
    account, partition, holder = accounts.get(access_key, (None, None, None))
    # A reset makes other holders, or empties this one.
    if holder and dict.get(dict.get(iam.iam_backends, account, {}), partition) is holder and access_key in holder.access_keys:
        return account
    for account, backends_of_account in list(dict.items(iam.iam_backends)):
        for partition, holder in list(dict.items(backends_of_account)):
            if access_key in holder.access_keys:
                accounts[access_key] = (account, partition, holder)
                return account
    return DEFAULT_ACCOUNT_ID


iam.get_account_id_from = account_of


def all_access_keys(backend):
    """moto goes through accounts and users while other requests make more of them, which is an error of its own then."""
    accounts = [account[backend.partition] for account in list(dict.values(iam.iam_backends))]
    return [key for account in accounts for user in list(account.users.values()) for key in user.get_all_access_keys()]


iam.IAMBackend.get_all_access_keys_for_all_users = all_access_keys

make_backend = base_backend.BackendDict._create_account_specific_backend


def make_once(backends_of_service, account):
    """Each access to an account of a service makes it, unless it is in a list that moto makes of all accounts, which are hundreds here."""
    if not (dict.__contains__(backends_of_service, account) and backends_of_service in base_backend.BackendDict._instances):
        make_backend(backends_of_service, account)


base_backend.BackendDict._create_account_specific_backend = make_once

# Half of moto's time went into what it works out anew for each request, or each key: the private half of keys that nothing is signed with, the names of
# a class's methods, whether a name can be that of an element, the folders of its own package. The answers stay as they are.
kms.generate_private_key = functools.cache(kms.generate_private_key)
responses.method_names_from_class = functools.cache(responses.method_names_from_class)
xmltodict._validate_name = functools.cache(xmltodict._validate_name)
backends.list_of_moto_modules = functools.cache(lambda find=backends.list_of_moto_modules: tuple(find()))

def headers_of(connection, _class=client.HTTPMessage):
    """The headers of a request, each in a line of its own. Python reads them by its reader of mail, which took a tenth of moto's time."""
    message = _class()
    while (line := connection.readline(65537)).strip():
        name, _, value = line.decode("iso-8859-1").partition(":")
        message[name] = value.strip(" \t\r\n")
    return message


client.parse_headers = headers_of

names_of_members = {}


def value_of(serializer, value, key, shape):
    """A member of an answer. Which names it may have in moto's own object is worked out anew for each member of each element: a third of moto's time."""
    names_of_service, transformers = serializer.__dict__.get("picks") or picks(serializer)
    of_class = type(value)
    try:
        # Of an element, a member has the same names in each object of a class.
        names = names_of_service[shape.parent.name, key, of_class]
    except (AttributeError, KeyError, TypeError):
        # One without an element, or one whose object may have aliases of its own.
        context = serialize.AttributePickerContext(value, key, shape, serializer.operation_model, serializer.service_model, ".".join(serializer.path))
        if names_of_service is None or not hasattr(shape, "parent") or "Meta" in getattr(value, "__dict__", ()):
            return serializer._value_picker(context)
        names = tuple(dict.fromkeys(serializer._value_picker.get_possible_keys(context)))
        names_of_service[shape.parent.name, key, of_class] = names
    found = None
    if of_class is dict:
        for name in names:
            if name in value:
                found = value[name]
                break
    else:
        for name in names:
            member = get_value(value, name)
            if member is not MISSING:
                found = member
                break
    if transformers:
        path = ".".join([*serializer.path, key])
        for end, transform in transformers.items():
            if path.endswith(end):
                return transform(found)
    return found


def picks(serializer):
    """What the members of a service are called in moto, as far as it is known; of a way to look for them that is not the common one, nothing is kept."""
    picker = serializer._value_picker
    if isinstance(picker, serialize.AttributePicker):
        of = (type(picker), *picker.alias_providers, serializer.service_model.service_name)
        serializer.picks = (names_of_members.setdefault(of, {}), picker.response_transformers)
    else:
        serializer.picks = (None, None)
    return serializer.picks


serialize.ResponseSerializer.get_value = value_of

# What was made so far stays, and is not looked through each time that rubbish is looked for, which is less often than by default: requests leave little.
gc.freeze()
gc.set_threshold(20_000, 20, 20)


class Handler(WSGIRequestHandler):
    """Answers all requests of a connection, as AWS does. werkzeug's closes it behind the first, and a third of moto's time went into connections and their threads."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def run_wsgi(self):
        self.environ = environ = self.make_environ()
        # All of it, whatever is made of it: what is left would be taken for the next request. One in chunks has no length.
        length = environ.get("CONTENT_LENGTH")
        body = environ["wsgi.input"].read(*([int(length or 0)] if not environ.get("wsgi.input_terminated") else []))
        environ["wsgi.input"] = io.BytesIO(body)
        try:
            status, headers, answer = self.called(self.server.app)
        except Exception:
            # What moto cannot do is an error of the server's, as with werkzeug, and no connection that breaks.
            self.log("error", f"Error on request:\n{traceback.format_exc()}")
            status, headers, answer = self.called(InternalServerError())
        code, _, reason = status.partition(" ")
        self.send_response_only(int(code), reason)
        told = {name.lower(): value for name, value in headers}
        for name, value in headers:
            self.send_header(name, value)
        if "date" not in told:
            self.send_header("Date", self.date_time_string())
        has_body = self.command != "HEAD" and code not in ("204", "304")
        if has_body and "content-length" not in told:
            self.send_header("Content-Length", str(len(answer)))
        elif has_body and told["content-length"] != str(len(answer)):
            # The client would wait for the rest, or take it for the next answer.
            self.send_header("Connection", "close")
        self._headers_buffer.append(b"\r\n" + (answer if has_body else b""))
        self.flush_headers()

    def called(self, app):
        """What an application answers: status, headers and body."""
        head = []

        def start_response(status, headers, error=None):
            head[:] = [status, headers]

        parts = app(self.environ, start_response)
        try:
            answer = b"".join(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()
        return *head, answer


logging.getLogger("werkzeug").setLevel(logging.ERROR)
threading.Thread(target=end_with_parent, daemon=True).start()
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True, request_handler=Handler)
print(server.server_port, flush=True)
server.serve_forever()
