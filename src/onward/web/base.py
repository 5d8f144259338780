"""What goes wrong in this room."""


class WebError(Exception):
    """The root of this room's errors."""


class BuildFailed(WebError):
    """The explorer could not be built; the message says which step failed and with what."""
