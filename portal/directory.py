"""Sign in with the password that the directory of the organization knows."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest
from django_auth_ldap.backend import LDAPBackend
from django_auth_ldap.config import LDAPSearch

from broker.errors import Refused
from broker.operations import directory
from portal.models import User

SUBTREE = 2  # of LDAP's scopes


class Backend(LDAPBackend):
    """Asked after the accounts of Hotdesk's own, and never about them: whoever works here without the directory is
    neither kept out nor delayed by it, and nobody becomes somebody else by having the same name there.
    """

    def __init__(self) -> None:
        self.place = directory.place()
        wanted = f"(&{self.place.user_filter}({self.place.username}=%(user)s))"
        self.default_settings = {
            "SERVER_URI": self.place.uri,
            "START_TLS": self.place.start_tls,
            "BIND_DN": self.place.bind_dn,
            "BIND_PASSWORD": self.place.bind_password,
            "CONNECTION_OPTIONS": self.place.options,
            "USER_SEARCH": LDAPSearch(self.place.users, SUBTREE, wanted, self.place.attributes),
            "USER_ATTRLIST": self.place.attributes,
            "ALWAYS_UPDATE_USER": False,
        }

    def authenticate(self, request: HttpRequest | None, username: str | None = None, **more: Any) -> User | None:
        own = User.objects.filter(username=username or "", directory_entry=None)
        if not username or own.exists():
            return None
        user = super().authenticate(request, username=username, **more)
        return user if user is not None and user.is_active else None

    def get_or_build_user(self, username: str, ldap_user: Any) -> tuple[User, bool]:
        """Called when the password was right. Who is disabled here, or whose name is somebody else's, is kept out."""
        person = self.place.person(ldap_user.dn, ldap_user.attrs)
        try:
            if person is not None:
                return directory.signed_in(person), False
        except Refused as refusal:
            raise ldap_user.AuthenticationFailed(refusal.message) from refusal
        raise ldap_user.AuthenticationFailed("the entry lacks a key or a user name")

    def get_user(self, user_id: Any) -> Any:
        """Nobody who is disabled; no page asks the directory."""
        return ModelBackend().get_user(user_id)
