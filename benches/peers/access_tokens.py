"""Issuers of access tokens, as apps and identity providers are: some 500 bytes of claims and a signature."""

import base64
import json
import time

AUDIENCE = "https://api.example.com"


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def of_an_app():
    """What an app hands out at a login. Nobody checks its signature."""
    now = int(time.time())
    claims = {"sub": "7", "org_id": "42", "type": "access", "iat": now, "exp": now + 36_000, "jti": "9f0c2f4e3ab147d08c5d"}
    text = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{text}.{encoded(bytes(32))}"


class Issuer:
    """One that signs by RS256 or ES256. Its public key is in a file, once as PEM and once as a set."""

    def __init__(self, directory, algorithm):
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

        self.algorithm, self.name, self.now = algorithm, f"https://{algorithm.lower()}.issuer.test/", int(time.time())
        number = lambda value, size: encoded(value.to_bytes(size, "big"))
        if algorithm == "RS256":
            key = rsa.generate_private_key(65537, 2048)
            public = key.public_key().public_numbers()
            jwk = {"kty": "RSA", "n": number(public.n, 256), "e": number(public.e, 3)}
            self.sign = lambda text: key.sign(text, padding.PKCS1v15(), hashes.SHA256())
        else:
            key = ec.generate_private_key(ec.SECP256R1())
            public = key.public_key().public_numbers()
            jwk = {"kty": "EC", "crv": "P-256", "x": number(public.x, 32), "y": number(public.y, 32)}

            def sign(text):
                r, s = utils.decode_dss_signature(key.sign(text, ec.ECDSA(hashes.SHA256())))
                return r.to_bytes(32, "big") + s.to_bytes(32, "big")

            self.sign = sign
        self.public, self.jwks = directory / f"{algorithm}.pem", directory / f"{algorithm}.json"
        pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.public.write_bytes(pem)
        self.jwks.write_text(json.dumps({"keys": [jwk | {"kid": "k1", "use": "sig"}]}))

    def token(self, number):
        header = {"alg": self.algorithm, "typ": "JWT", "kid": "k1"}
        claims = {
            "iss": self.name, "aud": [AUDIENCE], "sub": f"auth0|{number:012x}", "org_id": "42", "iat": self.now,
            "exp": self.now + 36_000, "scope": "read:orders write:orders read:invoices", "azp": "mobile", "jti": number,
        }
        text = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
        return f"{text}.{encoded(self.sign(text.encode()))}"

    def believed(self):
        """The table by which the gateway believes it."""
        return (
            f'[[bearer.issuers]]\nissuer = "{self.name}"\naudience = ["{AUDIENCE}"]\nalgorithms = ["{self.algorithm}"]\n'
            f'jwks = "{self.jwks}"\ntenant = ["/org_id"]\nuser = ["/sub"]\n'
        )
