"""What several groups refuse of a number."""

import math


def refuse_negative(group: object, *names: str) -> None:
    """Raise ValueError if one of these settings is negative, or no number."""
    for name in names:
        value = getattr(group, name)
        if not (math.isfinite(value) and value >= 0):
            option = name.replace("_", "-")
            raise ValueError(f"--{option} is {value}; it must be a number, 0 or more.")


def refuse_below_one(group: object, name: str) -> None:
    """Raise ValueError if a setting that is given is below 1."""
    value = getattr(group, name)
    if value is not None and value < 1:
        raise ValueError(f"--{name.replace('_', '-')} is {value}; it must be at least 1.")
