"""Signatures of a project's functions, where types may be imported for type checkers only.

From Python 3.14 on annotations need no quotes for that: they are evaluated where somebody asks for them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

if sys.version_info >= (3, 14):
    import annotationlib


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature, in which a type that is not defined is a ForwardRef. Raises TypeError and ValueError."""
    if sys.version_info >= (3, 14):
        return inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)
    return inspect.signature(function)


def annotations_of(function: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the annotations, in which a type that is not defined is a ForwardRef."""
    if sys.version_info >= (3, 14):
        return annotationlib.get_annotations(function, format=annotationlib.Format.FORWARDREF)
    found: Mapping[str, Any] = getattr(function, "__annotations__", {})
    return found
