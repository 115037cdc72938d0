"""An OpenID provider for one client, as small as a real login needs: whoever asks is the same user, at once.

    provider.py PORT CLIENT SECRET

Discovery, authorization with a code, and the token endpoint. ID tokens are signed with the client's secret (HS256), so
that the set of public keys is empty.
"""

import base64
import hashlib
import hmac
import http.server
import json
import secrets
import sys
import time
import urllib.parse


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(claims, secret):
    text = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{text}.{encoded(hmac.digest(secret.encode(), text.encode(), hashlib.sha256))}"


class Provider(http.server.BaseHTTPRequestHandler):
    """What it is asked. The codes that were given out, with the nonce of each, are the class's."""

    issuer, client, secret = "", "", ""
    nonces = {}

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        match url.path:
            case "/.well-known/openid-configuration":
                self.json({
                    "issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/authorize",
                    "token_endpoint": f"{self.issuer}/token", "jwks_uri": f"{self.issuer}/keys",
                    "response_types_supported": ["code"], "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["HS256"],
                    "token_endpoint_auth_methods_supported": ["client_secret_basic"],
                })
            case "/keys":
                self.json({"keys": []})
            case "/authorize" if query.get("client_id") == self.client:
                code = secrets.token_urlsafe()
                self.nonces[code] = query.get("nonce")
                back = urllib.parse.urlencode({"code": code, "state": query.get("state", "")})
                self.send_response(302)
                self.send_header("Location", f"{query['redirect_uri']}?{back}")
                self.send_header("Content-Length", "0")
                self.end_headers()
            case _:
                self.send_error(404)

    def do_POST(self):
        form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()))
        basic = "Basic " + base64.b64encode(f"{self.client}:{self.secret}".encode()).decode()
        if self.path != "/token" or self.headers.get("Authorization") != basic or form.get("code") not in self.nonces:
            self.send_error(400)
            return
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": self.client, "sub": "7", "iat": now, "exp": now + 3600,
            "nonce": self.nonces.pop(form["code"]), "customer_id": "42",
        }
        tokens = {"access_token": secrets.token_urlsafe(), "token_type": "Bearer", "expires_in": 3600}
        self.json(tokens | {"id_token": signed(claims, self.secret)})

    def json(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    port, Provider.client, Provider.secret = sys.argv[1:]
    Provider.issuer = f"http://127.0.0.1:{port}"
    http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Provider).serve_forever()


if __name__ == "__main__":
    main()
