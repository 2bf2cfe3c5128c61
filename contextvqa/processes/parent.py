"""Processes that end with whoever started them, however that ends."""

import ctypes

#: Linux: the signal that a process gets when the thread that started it has ended.
PR_SET_PDEATHSIG = 1


def ask_for_signal(signum: int) -> None:
    """Let this process get the signal when the thread that started it has ended."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signum)
