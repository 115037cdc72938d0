"""A receiver of webhooks, which believes nothing that the reference library of Standard Webhooks does not verify.

    webhook_receiver.py FOLDER PORT [--tls CERTIFICATE] [--secret WHSEC]

What it was told stands in FOLDER/hooks.jsonl, a line each. FOLDER/orders.json says what it does, and is read each time:
{"status": 503, "location": "http://elsewhere/", "pause": 0.5}.
"""

import argparse
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

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
        hook = {"path": self.path, "headers": headers, "body": json.loads(body), "verified": verified, "status": status}
        with writing, (options.folder / "hooks.jsonl").open("a") as file:
            file.write(json.dumps(hook) + "\n")
        time.sleep(orders.get("pause", 0))
        self.send_response(status)
        if "location" in orders:
            self.send_header("Location", orders["location"])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", options.port), Receiver)
if options.tls:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.tls + ".crt", options.tls + ".key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
