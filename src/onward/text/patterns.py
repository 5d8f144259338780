"""Patterns in which `*` stands for any characters, and the form of a rate."""

from __future__ import annotations

import re


def matches(name: str, pattern: str) -> bool:
    """Return true if the whole name matches: find the pieces between the stars in order, without backtracking."""
    first, *rest = pattern.split("*")
    if not rest:
        return name == first
    *middle, last = rest
    if len(name) < len(first) + len(last) or not (name.startswith(first) and name.endswith(last)):
        return False
    at, end = len(first), len(name) - len(last)
    for piece in middle:
        found = name.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def is_rate(text: str) -> bool:
    """Return true for a number and the time that it is for: second, minute, hour or day, as in 100/m."""
    return re.fullmatch(r"[1-9]\d{0,6}/[smhd]", text, re.ASCII) is not None
