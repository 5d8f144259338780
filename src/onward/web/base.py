"""Errors of this package."""


class WebError(Exception):
    """Base class for errors of this package."""


class BuildFailed(WebError):
    """A bundle could not be built; the message names the step and the reason."""
