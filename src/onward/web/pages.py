"""The pages: `/` is the console, a browser's GET of `/graphql` the explorer; `/static/` has their files.

Inside another application they stand elsewhere. Every link is relative to the page's address: `base` is the link to the
path that the page's files are below, and the pages know each other's addresses as links, too.
"""

import json
from html import escape
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from onward.web import build, cdn, policy
from onward.web.files import Files

HERE = Path(__file__).resolve().parent
PRIVATE = {**policy.COMMON, "Cache-Control": "no-store"}  # of answers at a signal's address
BUILDING = "It is being built from npm packages, once; it appears here in a moment."
UNBUILT = (
    "It is not built here. Install Node.js 18 or newer with npm, and run"
    " <code>python -m onward.web.build console</code>. An installed package brings it built."
)
INSTEAD = "<p>Meanwhile, a terminal shows the jobs: <code>onward jobs list</code>, <code>onward top</code>.</p>"
NO_SCRIPT = (
    "<noscript><p>The form needs JavaScript. Without it, POST the answer as JSON to this address.</p></noscript>"
)


def routes() -> list[BaseRoute]:
    """The console at `/`, and the files of all pages below `/static/`."""

    async def operators(_request: Request) -> Response:
        return console("graphql")

    return [Route("/", operators, methods=["GET"], name="console"), Mount("/static", files(), name="static")]


def files() -> Files:
    """Return the files of all pages, as an application."""
    return Files(directory=HERE / "static")


def answer(name: str, words: str, status: int, *, schema: object = None) -> Response:
    """Serve the page of a signal's address: a form made from the JSON Schema, or else the words."""
    title, script, shown = escape(name) or "Answer", "", f"<p>{escape(words)}</p>"
    if schema is not None:
        script = '<script type="module" src="../static/answer/answer.js"></script>\n'
        shown = f'<div id="answer" data-schema="{escape(json.dumps(schema))}"></div>{NO_SCRIPT}'
    html = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>{title} - Onward</title>
<link rel="icon" href="../static/shared/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="../static/shared/base.css">
{script}</head>
<body>
<main id="main"><section class="card"><h1>{title}</h1>{shown}</section></main>
</body>
</html>
"""
    return HTMLResponse(html, status, headers={**PRIVATE, "Content-Security-Policy": policy.CONSOLE})


def console(graphql: str, base: str = "") -> Response:
    """Serve the console for the GraphQL at this address; without a build, a page that says how to get it.

    The page is the same for everyone: what it shows comes from GraphQL.
    """
    static, built = f"{escape(base)}static", build.CONSOLE.current()
    building = built is None and build.CONSOLE.running()
    if built is not None:
        head, shown = _loading(built, static), '<p class="waiting">Loading the console…</p>'
    else:
        head = f'<link rel="stylesheet" href="{static}/shared/base.css">\n'
        head += '<meta http-equiv="refresh" content="3">\n' if building else ""
        shown = f'<main class="card"><h1>Console</h1><p>{BUILDING if building else UNBUILT}</p>{INSTEAD}</main>'
    links = f'data-graphql="{escape(graphql)}" data-icon="{static}/shared/icon.svg"'
    script = "<noscript><p>The console needs JavaScript. In a terminal: <code>onward jobs list</code>.</p></noscript>"
    html = _html("Console", static, head, f'<div id="console" {links}>{shown}</div>\n{script}')
    headers = {**policy.COMMON, "Content-Security-Policy": policy.CONSOLE, "Cache-Control": "no-cache"}
    return HTMLResponse(html, headers=headers)


def explorer(_request: Request, *, base: str = "", jobs: str = "./") -> Response:
    """Serve GraphiQL, which links to `jobs`: the build of this server, or a public CDN's before there is one."""
    built = build.EXPLORER.current()
    html, allowed = _built(built, base, jobs) if built else _from_cdn(base, jobs)
    headers = {**policy.COMMON, "Content-Security-Policy": allowed, "Cache-Control": "no-store", "Vary": "Accept"}
    return HTMLResponse(html, headers=headers)


def _built(built: build.Built, base: str, jobs: str) -> tuple[str, str]:
    static = f"{escape(base)}static"
    return _document(_loading(built, static), "Loading the explorer…", static, jobs), policy.explorer()


def _loading(built: build.Built, static: str) -> str:
    styles = "".join(f'<link rel="stylesheet" href="{static}/{escape(style)}">\n' for style in built.styles)
    return styles + f'<script type="module" src="{static}/{escape(built.script)}"></script>\n'


def _from_cdn(base: str = "", jobs: str = "./") -> tuple[str, str]:
    # `preload` carries the integrity; static/fallback/start.js runs the scripts in this order and says what failed.
    links = [(kind, file) for kind, files in (("style", cdn.STYLES), ("script", cdn.SCRIPTS)) for file in files]
    static = f"{escape(base)}static"
    head = "".join(
        f'<link rel="preload" as="{kind}" href="{file.url}" integrity="{file.integrity}" crossorigin="anonymous">\n'
        for kind, file in links
    )
    head += f'<script type="module" src="{static}/fallback/start.js"></script>\n'
    words = "Loading GraphiQL from the public CDN…"
    allowed = policy.explorer(
        scripts=tuple(file.url for file in cdn.SCRIPTS), styles=tuple(file.url for file in cdn.STYLES)
    )
    return _document(head, words, static, jobs, building=build.EXPLORER.running()), allowed


def _document(head: str, words: str, static: str, jobs: str, *, building: bool = False) -> str:
    shown = f'data-jobs="{escape(jobs)}" data-building="{"yes" if building else "no"}"'
    body = f"""<div id="explorer" {shown}><p class="waiting">{words}</p></div>
<noscript><p class="waiting">The explorer needs JavaScript. The schema: POST an introspection query to this address,
or run <code>onward schema</code>.</p></noscript>"""
    return _html("Explorer", static, f'<link rel="stylesheet" href="{static}/shared/explorer.css">\n{head}', body)


def _html(title: str, static: str, head: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} - Onward</title>
<link rel="icon" href="{static}/shared/icon.svg" type="image/svg+xml">
{head}</head>
<body>
{body}
</body>
</html>
"""
