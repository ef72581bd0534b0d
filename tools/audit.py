"""Looks for known faults of the packages that we install (`make audit`), with pip-audit over OSV.

Every version of the locks is asked about. Where the service cannot be reached, that is said and
nothing fails: a machine without a connection can check nothing.
"""

import json
import subprocess
import sys
from typing import Any

from tools.lock import ROOT, SOURCES, TORCH_LOCK, lock_of

NOT_CHECKED = "*** NOT CHECKED for known faults: no connection to the vulnerability service. ***"
# How pip-audit and the library below it say that nobody answered.
_AWAY = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "Could not connect", "ProxyError")


def main() -> int:
    for lock in (lock_of(SOURCES[-1]), TORCH_LOCK):
        done = subprocess.run(command(lock), cwd=ROOT, capture_output=True, text=True, check=False)
        words, failed = verdict(lock, done.stdout, done.stderr)
        print(words)
        if failed:
            return 1
    return 0


def command(lock: str) -> list[str]:
    asked = [sys.executable, "-m", "pip_audit", "--requirement", lock, "--require-hashes"]
    asked += ["--disable-pip", "--vulnerability-service", "osv", "--timeout", "10"]
    return [*asked, "--format", "json", "--progress-spinner", "off"]


def verdict(lock: str, answer: str, complaints: str) -> tuple[str, bool]:
    """What to say of pip-audit's two outputs, and whether it is a failure."""
    if not answer.strip():
        if any(one in complaints for one in _AWAY):
            return NOT_CHECKED, False
        return f"pip-audit failed on {lock}:\n{complaints}", True
    packages: list[dict[str, Any]] = json.loads(answer)["dependencies"]
    found = [_line(one, fault) for one in packages for fault in one.get("vulns", [])]
    if found:
        return "\n".join([f"Known faults in {lock}:", *found]), True
    return f"No known fault in the {len(packages)} packages of {lock}.", False


def _line(package: dict[str, Any], fault: dict[str, Any]) -> str:
    better = ", ".join(fault.get("fix_versions", [])) or "no version yet"
    return f"  {package['name']} {package['version']}: {fault['id']}, mended by {better}"


if __name__ == "__main__":
    sys.exit(main())
