"""A SAML identity provider on loopback, made of pysaml2: `python -m tests.saml_provider FOLDER PORT`.

The folder holds the metadata of who asks (sp.xml), the provider's key and certificate, and claims.json: what it says
of whoever comes. Who it is was decided before; it only answers.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT
from saml2.config import IdPConfig
from saml2.saml import NAME_FORMAT_BASIC, NAMEID_FORMAT_PERSISTENT, NameID
from saml2.server import Server
from saml2.xmldsig import DIGEST_SHA256, SIG_RSA_SHA256


def settings(folder: Path, port: int) -> dict:
    base = f"http://127.0.0.1:{port}"
    return {
        "entityid": f"{base}/metadata",
        "service": {
            "idp": {
                "endpoints": {"single_sign_on_service": [(f"{base}/sso", BINDING_HTTP_REDIRECT)]},
                "signing_algorithm": SIG_RSA_SHA256,
                "digest_algorithm": DIGEST_SHA256,
                "policy": {"default": {"lifetime": {"minutes": 5}, "name_form": NAME_FORMAT_BASIC}},
            }
        },
        "key_file": str(folder / "idp.key"),
        "cert_file": str(folder / "idp.pem"),
        "metadata": {"local": [str(folder / "sp.xml")]},
        "xmlsec_binary": "/usr/bin/xmlsec1",
    }


def serve(folder: Path, port: int) -> None:
    """Answer until it is ended."""
    provider = Server(config=IdPConfig().load(settings(folder, port)))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            if address.path != "/sso":
                self._answer(b"here")
                return
            query = parse_qs(address.query)
            asked = provider.parse_authn_request(query["SAMLRequest"][0], BINDING_HTTP_REDIRECT)
            claims = json.loads((folder / "claims.json").read_text())
            options = claims.pop("options")
            where = provider.response_args(asked.message)
            response = provider.create_authn_response(
                {name: [value] for name, value in claims.items()},
                userid=claims["uid"],
                name_id=NameID(format=NAMEID_FORMAT_PERSISTENT, text=claims["uid"]),
                authn={"class_ref": "urn:oasis:names:tc:SAML:2.0:ac:classes:Password"},
                sign_response=False,
                sign_assertion=options["signed"],
                sign_alg=SIG_RSA_SHA256,
                digest_alg=DIGEST_SHA256,
                **{**where, **options.get("where", {})},
            )
            form = provider.apply_binding(
                BINDING_HTTP_POST,
                str(response),
                where["destination"],
                query.get("RelayState", [""])[0],
                response=True,
            )
            self._answer("".join(form["data"]).encode())

        def _answer(self, page: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_about: object) -> None:
            """Nobody reads it."""

    HTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
