"""The paths at which another application has mounted ours.

Starlette's `Mount` at "/graphql" matches "/graphql/..." alone: it redirects "/graphql", and refuses WebSockets there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from posixpath import relpath
from typing import Any, NamedTuple

from fastapi.routing import iter_route_contexts
from starlette.requests import Request
from starlette.routing import BaseRoute, Host, Match, Mount, NoMatchFound
from starlette.types import Receive, Scope, Send

from onward.api.mounted import Mounted

MAX_LAYERS = 50  # of middleware around an application


class FoundMount(NamedTuple):
    """A mount of ours, its whole path in the outermost application, and where a route in front of it belongs."""

    app: Mounted
    path: str
    inner: Any  # a Mount, or FastAPI's view of one in a router that it includes
    routes: list[BaseRoute]
    before: BaseRoute


class ExactPath(BaseRoute):
    """Leads the path of a mount, without a slash at its end, to the mounted application."""

    def __init__(self, mount: Any) -> None:
        self._mount = mount

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] not in ("http", "websocket"):
            return Match.NONE, {}
        match, child = self._mount.matches({**scope, "path": f"{scope['path']}/"})
        root = scope.get("root_path", "")
        if match is Match.FULL and scope["path"] in (child["root_path"], child["root_path"].removeprefix(root)):
            return match, child
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._mount.app(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> Any:
        raise NoMatchFound(name, path_params)


def find(app: Any, ours: Collection[Mounted]) -> list[FoundMount]:
    """Return the mounts of our applications in another one, also in applications and routers inside it."""
    return list(_mounts(_routes_of(app), "", ours))


def add_exact_paths(mounts: Collection[FoundMount]) -> Callable[[], None]:
    """Let the path itself lead to each mount, not only the paths below. Return the function that undoes it."""
    added = [(mount.routes, mount.before, ExactPath(mount.inner)) for mount in mounts if mount.inner.path]
    for routes, before, exact in added:
        routes.insert(routes.index(before), exact)

    def remove() -> None:
        for routes, _, exact in added:
            if exact in routes:
                routes.remove(exact)

    return remove


def link(request: Request, mounts: Collection[FoundMount], here: Mounted, there: Collection[Mounted]) -> str | None:
    """Return the relative link from the page of one mount to another one; None if it is not mounted.

    Of several mounts, the one that shares the most of the path is taken.
    """
    slash, root = str(request.scope["path"]).endswith("/"), str(request.scope.get("root_path", ""))
    starts = sorted((mount.path for mount in mounts if mount.app is here), key=len)
    here_now = [path for path in starts if root.endswith(path)][-1:]  # unless the path has parameters
    links = []
    for start in here_now or starts:
        folder = start if slash else start.rpartition("/")[0]
        links += [relpath(end.path or "/", folder or "/") for end in mounts if end.app in there]
    found = min(links, key=lambda each: each.count("/"), default=None)
    return f"{found}/" if found in (".", "..") else found


def _mounts(routes: list[BaseRoute], above: str, ours: Collection[Mounted]) -> Iterator[FoundMount]:
    for route in routes:
        for context in iter_route_contexts([route]):
            if not isinstance(context.original_route, (Mount, Host)):
                continue
            inner: Any = route if isinstance(route, (Mount, Host)) else context
            path = above + getattr(inner, "path", "")
            further = inner.routes or _routes_of(inner.app)
            app = next((one for one in ours if one.routes is further), None)
            if app is None:
                yield from _mounts(further, path, ours)
            elif isinstance(context.original_route, Mount):
                yield FoundMount(app, path, inner, routes, route)


def _routes_of(app: Any) -> list[BaseRoute]:
    """Return the routes of an application, which may be inside layers of middleware."""
    for _ in range(MAX_LAYERS):
        routes = getattr(app, "routes", None)
        if isinstance(routes, list):
            return routes
        app = getattr(app, "app", None)
    return []
