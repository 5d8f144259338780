"""The pages: `/` shows jobs, a browser's GET of `/graphql` the explorer, `/static/` has their files."""

from html import escape
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from onward.web import build, cdn, policy
from onward.web.files import Files

HERE = Path(__file__).resolve().parent


def routes() -> list[BaseRoute]:
    """The jobs page at `/`, and the files of both pages below `/static/`."""
    return [
        Route("/", jobs, methods=["GET"], name="jobs"),
        Mount("/static", Files(directory=HERE / "static"), name="static"),
    ]


async def jobs(_request: Request) -> Response:
    """The jobs page, the same for everyone: what it shows comes from `/graphql`."""
    headers = {**policy.COMMON, "Content-Security-Policy": policy.JOBS, "Cache-Control": "no-cache"}
    return FileResponse(HERE / "jobs.html", media_type="text/html; charset=utf-8", headers=headers)


def explorer(_request: Request) -> Response:
    """Serve GraphiQL: the build of this server, or a public CDN's before there is one."""
    built = build.current()
    html, allowed = _built(built) if built else _from_cdn()
    headers = {**policy.COMMON, "Content-Security-Policy": allowed, "Cache-Control": "no-store", "Vary": "Accept"}
    return HTMLResponse(html, headers=headers)


def _built(built: build.Built) -> tuple[str, str]:
    styles = "".join(f'<link rel="stylesheet" href="static/{escape(style)}">\n' for style in built.styles)
    script = f'<script type="module" src="static/{escape(built.script)}"></script>\n'
    return _document(styles + script, "Loading the explorer…"), policy.explorer()


def _from_cdn() -> tuple[str, str]:
    # `preload` carries the integrity; static/fallback/start.js runs the scripts in this order and says what failed.
    links = [(kind, file) for kind, files in (("style", cdn.STYLES), ("script", cdn.SCRIPTS)) for file in files]
    head = "".join(
        f'<link rel="preload" as="{kind}" href="{file.url}" integrity="{file.integrity}" crossorigin="anonymous">\n'
        for kind, file in links
    )
    head += '<script type="module" src="static/fallback/start.js"></script>\n'
    words = "Loading GraphiQL from the public CDN…"
    allowed = policy.explorer(
        scripts=tuple(file.url for file in cdn.SCRIPTS), styles=tuple(file.url for file in cdn.STYLES)
    )
    return _document(head, words, building=build.running()), allowed


def _document(head: str, words: str, *, building: bool = False) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Explorer - Onward</title>
<link rel="icon" href="static/shared/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="static/shared/explorer.css">
{head}</head>
<body>
<div id="explorer" data-building="{"yes" if building else "no"}"><p class="waiting">{words}</p></div>
<noscript><p class="waiting">The explorer needs JavaScript. The schema: POST an introspection query to this address,
or run <code>onward schema</code>.</p></noscript>
</body>
</html>
"""
