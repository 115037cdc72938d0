"""A receiver of webhooks, which believes nothing that the reference library of Standard Webhooks does not verify.

    webhook_receiver.py FOLDER PORT [--tls CERTIFICATE] [--secret WHSEC]

What it was told stands in FOLDER/hooks.jsonl, a line each; of what is told in the format `ocsf` what the published schema
of its version finds wrong. FOLDER/orders.json says what it does, and is read each time:
{"status": 503, "location": "http://elsewhere/", "retry_after": 5, "hostile": "endless_head"}.
"""

import argparse
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

def wrong(event):
    """What the JSON schema of an OCSF event's class, in the version that it says it has, finds wrong with it."""
    import jsonschema_rs
    from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

    schemas = OcsfJsonSchemaEmbedded(get_ocsf_schema(event["metadata"]["version"]))
    name = schemas.lookup_class_name_from_uid(event["class_uid"])
    validator = jsonschema_rs.validator_for(schemas.get_class_schema(name, profiles=[]))
    return [name, [str(error) for error in validator.iter_errors(event)]]


parser = argparse.ArgumentParser()
parser.add_argument("folder", type=Path)
parser.add_argument("port", type=int)
parser.add_argument("--tls")
parser.add_argument("--secret")
options = parser.parse_args()
writing = threading.Lock()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        verified = None
        if options.secret:
            try:
                Webhook(options.secret).verify(body, headers)
                verified = True
            except WebhookVerificationError as error:
                verified = str(error)
        orders = {}
        if (options.folder / "orders.json").exists():
            orders = json.loads((options.folder / "orders.json").read_text())
        status = orders.get("status", 204) if verified in (None, True) else 401
        body = json.loads(body)
        hook = {"path": self.path, "headers": headers, "body": body, "verified": verified, "status": status}
        hook["at"] = time.time()
        if self.path.startswith("/hooks/ocsf"):
            hook["wrong"] = wrong(body)
        with writing, (options.folder / "hooks.jsonl").open("a") as file:
            file.write(json.dumps(hook) + "\n")
        if "hostile" in orders:
            self.close_connection = True
            return getattr(self, orders["hostile"])()
        self.send_response(status)
        if "retry_after" in orders:
            self.send_header("Retry-After", str(orders["retry_after"]))
        if "location" in orders:
            self.send_header("Location", orders["location"])
        self.send_header("Content-Length", "0")
        self.end_headers()

    # What hostile ones do, until the other side has had enough.

    def say(self, first, again, pause=0.0):
        try:
            self.wfile.write(first)
            while True:
                self.wfile.write(again)
                time.sleep(pause)
        except OSError:
            pass

    def endless_head(self):
        self.say(b"HTTP/1.1 204 No Content\r\n", b"X-More: " + b"x" * 1000 + b"\r\n")

    def drip(self):
        self.say(b"HTTP/1.1 204 No Content\r\nX-More: ", b"x", 0.3)

    def nothing(self):
        self.rfile.read(1)

    def endless_body(self):
        self.say(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536)

    def endless_failure(self):
        self.say(b"HTTP/1.1 500 Oh\r\n\r\n", b"x" * 65536)

    def echo_missing(self):
        self.wfile.write(f"HTTP/1.1 404 Not Found\r\n\r\nCannot POST {self.path}".encode())

    def echo_invalid(self):
        self.wfile.write(f"HTTP/1.1 422 Invalid\r\n\r\n{self.path} takes no such thing".encode())

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", options.port), Receiver)
if options.tls:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.tls + ".crt", options.tls + ".key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
