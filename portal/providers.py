"""Who else may vouch for people: OpenID Connect and SAML providers from one TOML file, and a directory (README)."""

import tomllib
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

# As HOTDESK_LDAP_… names them; what is absent is as broker.drivers.directory.Place has it.
PLACE = ("uri", "users", "groups", "bind_dn", "user_filter", "group_filter", "username", "key", "ca_file")

COMMON = {"name", "create_users", "trust_email"}
OIDC = COMMON | {"server_url", "client_id", "client_secret", "client_secret_file"}
SAML = COMMON | {"entity_id", "metadata_url", "sso_url", "certificate", "attributes", "own_entity_id"}


def read(file: str) -> dict[str, dict[str, Any]]:
    """The providers as allauth takes them; none without a file. ImproperlyConfigured names what is wrong in it."""
    if not file:
        return {}
    try:
        given = tomllib.loads(Path(file).read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ImproperlyConfigured(f"The sign-in providers in {file} cannot be read: {error}") from error
    unknown = sorted(set(given) - {"oidc", "saml"})
    twice = sorted(set(given.get("oidc", {})) & set(given.get("saml", {})))
    if unknown or twice:
        raise ImproperlyConfigured(f"{file}: unknown tables {unknown}, or names that stand there twice {twice}.")
    return {
        "openid_connect": {
            "APPS": [_oidc(key, one) for key, one in given.get("oidc", {}).items()],
            "OAUTH_PKCE_ENABLED": True,
        },
        "saml": {"APPS": [_saml(key, one) for key, one in given.get("saml", {}).items()]},
    }


def directory(env: Any, bind_password: str) -> dict[str, Any]:
    """Where the directory of the organization is; empty without one."""
    given = {name: env.str(f"HOTDESK_LDAP_{name.upper()}", default="") for name in PLACE}
    if not given["uri"]:
        return {}
    more = {"bind_password": bind_password, "start_tls": env.bool("HOTDESK_LDAP_START_TLS", default=False)}
    return {name: value for name, value in given.items() if value} | more


def _oidc(key: str, given: dict[str, Any]) -> dict[str, Any]:
    _check(f"oidc.{key}", given, OIDC, needed={"name", "server_url", "client_id"})
    file = given.get("client_secret_file")
    return {
        "provider_id": key,
        "name": given["name"],
        "client_id": given["client_id"],
        "secret": Path(file).read_text().strip() if file else given.get("client_secret", ""),
        "settings": {"server_url": given["server_url"], **_rules(given)},
    }


def _saml(key: str, given: dict[str, Any]) -> dict[str, Any]:
    needed = {"name", "entity_id"} | (set() if "metadata_url" in given else {"sso_url", "certificate"})
    _check(f"saml.{key}", given, SAML, needed=needed)
    idp = {"entity_id": given["entity_id"]}
    if "metadata_url" in given:
        idp["metadata_url"] = given["metadata_url"]
    else:
        idp |= {"sso_url": given["sso_url"], "x509cert": given["certificate"]}
    settings = {
        "idp": idp,
        # What is not signed says nothing; and nobody is signed in who did not ask for it here.
        "advanced": {
            "strict": True,
            "want_assertion_signed": True,
            "reject_idp_initiated_sso": True,
            "allow_single_label_domains": True,  # as inside companies
        },
        **_rules(given),
    }
    if "attributes" in given:
        settings["attribute_mapping"] = given["attributes"]
    if "own_entity_id" in given:
        settings["sp"] = {"entity_id": given["own_entity_id"]}
    return {"provider_id": key, "name": given["name"], "client_id": key, "settings": settings}


def _rules(given: dict[str, Any]) -> dict[str, bool]:
    """What follows from an identity that no account is bound to yet."""
    return {name: bool(given.get(name, False)) for name in ("create_users", "trust_email")}


def _check(where: str, given: dict[str, Any], known: set[str], *, needed: set[str]) -> None:
    unknown, missing = sorted(set(given) - known), sorted(needed - set(given))
    if unknown or missing:
        raise ImproperlyConfigured(f"Sign-in provider {where}: unknown {unknown}, missing {missing}.")
