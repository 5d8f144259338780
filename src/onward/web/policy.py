"""The sources that a page may load from: Content-Security-Policy and the headers that go with it."""

from collections.abc import Mapping

COMMON: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

STATIC = "default-src 'none'; script-src 'self'; frame-ancestors 'none'"  # for the workers of the explorer's editor

CONSOLE = (  # also of the page of a signal's address
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def explorer(*, scripts: tuple[str, ...] = (), styles: tuple[str, ...] = ()) -> str:
    """Return the policy of the explorer's page, which allows each of the CDN addresses in `scripts` and `styles`."""
    return "; ".join(
        (
            "default-src 'none'",
            " ".join(("script-src 'self'", *scripts)),
            # GraphiQL's editors (Monaco, CodeMirror) and scroll areas write <style> elements while they run, and take
            # no nonce. Scripts are never allowed inline.
            " ".join(("style-src 'self' 'unsafe-inline'", *styles)),
            "worker-src 'self'",
            "connect-src 'self'",
            "img-src 'self' data:",
            "font-src 'self' data:",  # GraphiQL's style sheet carries its fonts
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
