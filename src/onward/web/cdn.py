"""GraphiQL of a public CDN, used until the explorer is built here: its files and their digests.

GraphiQL 4 is the last one published as one file for a script tag; GraphiQL 5 on a CDN is hundreds of modules, which no
integrity attribute can cover. See docs/decisions/explorer.md.
"""

from typing import NamedTuple


class CdnFile(NamedTuple):
    """A file of an npm package, as the CDN serves it byte for byte, and its digest."""

    package: str
    path: str
    integrity: str

    @property
    def url(self) -> str:
        return f"https://cdn.jsdelivr.net/npm/{self.package}/{self.path}"


SCRIPTS: tuple[CdnFile, ...] = (  # in the order in which they are run
    CdnFile(
        "react@18.3.1",
        "umd/react.production.min.js",
        "sha384-DGyLxAyjq0f9SPpVevD6IgztCFlnMF6oW/XQGmfe+IsZ8TqEiDrcHkMLKI6fiB/Z",
    ),
    CdnFile(
        "react-dom@18.3.1",
        "umd/react-dom.production.min.js",
        "sha384-gTGxhz21lVGYNMcdJOyq01Edg0jhn/c22nsx0kyqP0TxaV5WVdsSH1fSDUf5YJj1",
    ),
    CdnFile(
        "graphiql@4.1.2",
        "graphiql.min.js",
        "sha384-9XdHu7ajgGJziD4J1zNBKQ842Q/+zZfDv+ib1eMhZWBH6hPAs806x+Jbcf0yNO6B",
    ),
)
STYLES: tuple[CdnFile, ...] = (
    CdnFile(
        "graphiql@4.1.2",
        "graphiql.min.css",
        "sha384-1el1QShFBnnXTx9x/Cprg82hZWKt0ry29OAYIXt05swbi0KcZDFoj0CWguMpopJr",
    ),
)
