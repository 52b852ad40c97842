"""Does the lock name a package with a known vulnerability? And was that asked of anybody who knows?

pip-audit ends well, too, where a mirror or a closed network knows nothing of vulnerabilities. So it is asked about
one package more, known to be vulnerable: only an answer that says so about that one is believed about the others.
"""

import json
import re
import subprocess
import sys
import tempfile
from typing import Any

KNOWN = ("bottle", "0.10")  # CVE-2014-3137 and others; none of ours
NOBODY_THERE = re.compile(r"requests\.exceptions\.|ServiceError|network may be blocking")


def ask(lock: str) -> subprocess.CompletedProcess[str]:
    """What pip-audit says of the lock, and of the package that we know about."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as known:
        known.write("==".join(KNOWN) + "\n")
        known.flush()
        options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
        command = [sys.executable, "-m", "pip_audit", "-r", known.name, "-r", lock, *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)


def judge(said: str, complaints: str) -> tuple[bool, list[str]]:
    """Whether lint may go on, and what people should read."""
    try:
        packages: list[dict[str, Any]] = json.loads(said)["dependencies"]
    except ValueError:
        reason = (complaints.strip().splitlines() or ["pip-audit said nothing"])[-1]
        return bool(NOBODY_THERE.search(complaints)), [_not_done(reason)]
    if not any(package["name"] == KNOWN[0] and package.get("vulns") for package in packages):
        return True, [_not_done("whoever answers here knows of no vulnerabilities at all")]
    ours = [package for package in packages if package["name"] != KNOWN[0]]
    lines = [
        f"vulnerable: {package['name']} {package['version']}: {one['id']}, "
        f"mended in {', '.join(one['fix_versions']) or 'no version yet'}"
        for package in ours
        for one in package.get("vulns", ())
    ]
    skipped = [f"{_loud(package['name'])}: {package['skip_reason']}" for package in ours if "skip_reason" in package]
    return not lines, lines + skipped or ["No known vulnerabilities in the packages of the lock."]


def _not_done(reason: str) -> str:
    return f"{_loud('dependencies')}: {reason}"


def _loud(what: str) -> str:
    return f"!!! NOT AUDITED !!! {what}"


if __name__ == "__main__":
    answer = ask(sys.argv[1])
    may_go_on, lines = judge(answer.stdout, answer.stderr)
    print("\n".join(lines))
    sys.exit(not may_go_on)
