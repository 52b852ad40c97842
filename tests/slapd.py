"""A private OpenLDAP on loopback: its own folder and port; it can fall silent and come back, as directories do."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import ldap
from ldap.modlist import addModlist

BASE = "dc=example,dc=org"
ROOT, PASSWORD = f"cn=root,{BASE}", "only for tests"
CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/pid
database mdb
suffix "{base}"
rootdn "{root}"
rootpw "{password}"
directory {folder}
"""


class Slapd:
    """People are uid=NAME,ou=people, groups cn=NAME,ou=groups."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hotdesk-slapd-"))
        about = {"folder": self.folder, "base": BASE, "root": ROOT, "password": PASSWORD}
        (self.folder / "slapd.conf").write_text(CONFIGURATION.format(**about))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.uri = f"ldap://127.0.0.1:{free.getsockname()[1]}"
        self.start()
        self.add(BASE, ["dcObject", "organization"], dc="example", o="Example")
        for unit in ("people", "groups"):
            self.add(f"ou={unit},{BASE}", ["organizationalUnit"], ou=unit)

    @property
    def settings(self) -> dict[str, str | bool]:
        return {
            "uri": self.uri,
            "users": f"ou=people,{BASE}",
            "groups": f"ou=groups,{BASE}",
            "bind_dn": ROOT,
            "bind_password": PASSWORD,
            "user_filter": "(&(objectClass=inetOrgPerson)(!(employeeType=left)))",
        }

    def start(self) -> None:
        command = ["/usr/sbin/slapd", "-f", str(self.folder / "slapd.conf"), "-h", self.uri, "-d", "none"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _try in range(500):
            try:
                self.connection = ldap.initialize(self.uri)
                self.connection.simple_bind_s(ROOT, PASSWORD)
                return
            except ldap.SERVER_DOWN:
                assert self.process.poll() is None, "slapd ended"
                time.sleep(0.02)
        raise AssertionError("slapd does not answer")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def hang(self) -> None:
        """It takes connections, and says nothing more."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        self.go_on()
        self.stop()
        shutil.rmtree(self.folder)

    # -- what is in it ---------------------------------------------------------------------------------

    def add(self, dn: str, classes: list[str], **values: str | list[str]) -> None:
        held = {"objectClass": classes, **values}
        lists = {name: [value] if isinstance(value, str) else value for name, value in held.items()}
        entry = {name: [one.encode() for one in values] for name, values in lists.items()}
        self.connection.add_s(dn, addModlist(entry))

    def person(self, name: str, **values: str) -> str:
        given = {"uid": name, "cn": name.title(), "sn": "Kim", "givenName": name.title(), "userPassword": PASSWORD}
        dn = f"uid={name},ou=people,{BASE}"
        self.add(dn, ["inetOrgPerson"], **{**given, "mail": f"{name}@example.org", **values})
        return dn

    def group(self, name: str, *members: str) -> str:
        dn = f"cn={name},ou=groups,{BASE}"
        self.add(dn, ["groupOfNames"], cn=name, member=list(members))
        return dn

    def change(self, dn: str, attribute: str, *values: str) -> None:
        self.connection.modify_s(dn, [(ldap.MOD_REPLACE, attribute, [value.encode() for value in values])])

    def delete(self, dn: str) -> None:
        self.connection.delete_s(dn)

    def clear(self) -> None:
        for unit in ("people", "groups"):
            for dn, _held in self.connection.search_s(f"ou={unit},{BASE}", ldap.SCOPE_ONELEVEL, attrlist=["1.1"]):
                self.delete(dn)
