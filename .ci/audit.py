"""
Look up known vulnerabilities of what is installed; exit code 1 where there is one.

Asks OSV, by pip-audit. Not PyPI, which mirrors answer for without its advisories: pip-audit then
calls everything clean. Where OSV cannot be reached, says so in one line and succeeds: a check of
style and types must not need the network.
"""

import argparse
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

OSV = "https://api.osv.dev/v1/query"
#: Seconds of all look-ups together, and of one.
AUDIT_TIMEOUT_S, ANSWER_TIMEOUT_S = 300, 10
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def main() -> int:
    """Audit; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--osv-url", default=OSV)
    parser.add_argument("--path", help="directory of packages (default: this environment's)")
    options = parser.parse_args()
    place = ["--path", options.path] if options.path else ["--local"]
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments
            [
                *(sys.executable, "-m", "pip_audit", *place, "--skip-editable"),
                *("--vulnerability-service", "osv", "--osv-url", options.osv_url),
                *("--timeout", str(ANSWER_TIMEOUT_S), "--progress-spinner", "off"),
                *(f"--ignore-vuln={known}" for known in ignored()),
            ],
            timeout=AUDIT_TIMEOUT_S,
            capture_output=True,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        print(f"audit skipped: {options.osv_url} took more than {AUDIT_TIMEOUT_S} s")
        return 0
    if done.returncode and not done.stdout and not answers(options.osv_url):
        print(f"audit skipped: {options.osv_url} cannot be reached")
        return 0
    print(done.stdout + done.stderr, end="")
    return done.returncode


def ignored() -> dict[str, str]:
    """Return the advisories that do not concern us, each with the reason."""
    settings = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    known: dict[str, str] = settings["tool"]["audit"]["ignore"]
    return known


def answers(url: str) -> bool:
    """Whether anybody is there; whatever they say to an empty question."""
    try:
        urllib.request.urlopen(url, timeout=ANSWER_TIMEOUT_S).close()  # noqa: S310 - whoever runs it names it
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
