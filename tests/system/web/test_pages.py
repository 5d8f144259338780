"""Pages and files over HTTP: their types, their policies, and what is not there."""

from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from onward.web import build


def get(address: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Return the answer: its status, its headers in lower case, its body."""
    try:
        with urlopen(Request(address, headers=headers), timeout=10) as answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()
    except HTTPError as error:
        with error:
            return error.code, {name.lower(): value for name, value in error.headers.items()}, error.read()


def directives(policy: str) -> dict[str, list[str]]:
    return {words[0]: words[1:] for words in (part.split() for part in policy.split(";"))}


def test_the_explorer_never_allows_inline_scripts(served: str) -> None:
    status, headers, _ = get(f"{served}/graphql", Accept="text/html")
    scripts = directives(headers["content-security-policy"])["script-src"]
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert "'self'" in scripts
    assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "https:"} & set(scripts)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("answer/answer.js", "text/javascript; charset=utf-8"),
        ("shared/base.css", "text/css; charset=utf-8"),
        ("shared/icon.svg", "image/svg+xml"),
    ],
)
def test_a_file_has_its_media_type_and_is_revalidated_by_its_etag(served: str, path: str, kind: str) -> None:
    status, headers, body = get(f"{served}/static/{path}")
    assert (status, headers["content-type"], headers["cache-control"]) == (200, kind, "no-cache")
    assert headers["x-content-type-options"] == "nosniff"
    assert body
    again, headers, body = get(f"{served}/static/{path}", **{"If-None-Match": headers["etag"]})
    assert (again, body) == (304, b"")
    assert "content-security-policy" in headers


@pytest.mark.parametrize("name", ["console", "explorer"])
def test_a_file_with_a_digest_in_its_name_is_cached(served: str, name: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(f"{name}_built")
    built = next(one for one in build.BUNDLES if one.name == name).current()
    assert built is not None
    _, headers, _ = get(f"{served}/static/{built.script}")
    assert headers["cache-control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(
    "path",
    [
        "../pages.py",
        "%2e%2e/pages.py",
        "..%2fpages.py",
        "build.log",
        "console/.lock",
        "explorer/.lock",
        "answer",
        "answer/",
        "answer/nothing.js",
        "answer/answer.js%00.css",
    ],
)
def test_any_other_path_is_404(served: str, path: str) -> None:
    assert get(f"{served}/static/{path}")[0] == 404
