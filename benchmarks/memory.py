"""How much memory this process has taken."""

from pathlib import Path


def peak_rss_mb() -> float:
    """
    Return the most memory that this process has had, in MB.

    Not `ru_maxrss`: after a fork and exec it begins with the parent's.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    [peak_kb] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(peak_kb) * 1024 / 1e6
