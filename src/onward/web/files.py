"""Static files over HTTP: known kinds only, each with its type, its policy and its caching time."""

import re
from collections.abc import Mapping
from os import PathLike, stat_result
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

from onward.web import policy

# Our own table: the machine's (`mimetypes`) differs from one to the next, and modules need the right type to run.
TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".woff2": "font/woff2",
}
IMMUTABLE = re.compile(r"/(console|explorer)/[0-9a-f]{16}/assets/")  # a digest is in each name below


class Files(StaticFiles):
    """The folder `static/`, with headers; a file that is hidden or of an unknown kind is not found."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the file, 304 when the browser has it, or 404."""
        if Path(path).suffix not in TYPES or any(part.startswith(".") for part in Path(path).parts):
            raise HTTPException(404)
        return await super().get_response(path, scope)

    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Return the response to a file that exists."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update({**policy.COMMON, "Content-Security-Policy": policy.STATIC})
        kept = "public, max-age=31536000, immutable" if IMMUTABLE.search(Path(full_path).as_posix()) else "no-cache"
        response.headers["Cache-Control"] = kept
        if not isinstance(response, NotModifiedResponse):
            response.headers["Content-Type"] = TYPES[Path(full_path).suffix]
        return response
