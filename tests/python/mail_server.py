"""A real SMTP server for the tests: takes mail, writes each down, and does what it is told to.

    mail_server.py FOLDER PORT [--tls|--starttls CERTIFICATE] [--user NAME:PASSWORD]

What it took stands in FOLDER/mails.jsonl, a line each. FOLDER/orders.json says what it does, and is read for each mail:
{"refuse": ["a@b"], "later": ["c@d"], "pause": 0.5, "hesitate": 0.5} refuses recipients for good or for now, and takes its time,
before it has a mail or before it says so.
"""

import argparse
import asyncio
import json
import signal
import ssl
import time
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


class Handler:
    def __init__(self, folder):
        self.folder = folder

    def orders(self):
        try:
            return json.loads((self.folder / "orders.json").read_text())
        except FileNotFoundError:
            return {}

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        orders = self.orders()
        if address in orders.get("refuse", []):
            return "550 5.1.1 There is nobody of this name"
        if address in orders.get("later", []):
            return "451 4.7.1 Come again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        await asyncio.sleep(self.orders().get("pause", 0))
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": server.transport.get_extra_info("ssl_object") is not None,
            "user": (session.auth_data or b"").decode() if session.authenticated else None,
            "hello": session.host_name,
            "at": time.time(),
            "data": envelope.content.decode("utf-8", "replace"),
        }
        with (self.folder / "mails.jsonl").open("a") as file:
            file.write(json.dumps(mail) + "\n")
        await asyncio.sleep(self.orders().get("hesitate", 0))
        return "250 OK"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--tls")
    parser.add_argument("--starttls")
    parser.add_argument("--user")
    options = parser.parse_args()

    settings = {}
    certificate = options.tls or options.starttls
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate + ".crt", certificate + ".key")
        if options.tls:
            settings["ssl_context"] = context
        else:
            settings |= {"tls_context": context, "require_starttls": True}
    if options.user:
        name, password = options.user.encode().split(b":", 1)

        def authenticate(server, session, envelope, mechanism, given):
            right = (given.login, given.password) == (name, password)
            return AuthResult(success=right, handled=False, auth_data=given.login)

        # Over implicit TLS the library does not know that it is protected.
        settings |= {"authenticator": authenticate, "auth_required": True, "auth_require_tls": not options.tls}

    controller = Controller(
        Handler(options.folder), hostname="127.0.0.1", port=options.port, enable_SMTPUTF8=False, **settings
    )
    controller.start()
    signal.pause()


main()
