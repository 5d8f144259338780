"""CORS: what web pages of the origins in the settings may send, and read, over HTTP.

An application that ours is mounted in has its own CORS, which goes for all of its paths.
"""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from onward.api import composition
from onward.config.settings import Settings

MAX_AGE_S = 600
HEADERS = (
    "Authorization",
    "Content-Type",
    # Tracing in browsers: W3C's headers, Sentry's and Datadog's; ids of requests.
    "traceparent",
    "tracestate",
    "baggage",
    "sentry-trace",
    "x-datadog-origin",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "x-datadog-trace-id",
    "x-request-id",
    "x-correlation-id",
    # GraphQL clients.
    "apollo-require-preflight",
    "apollographql-client-name",
    "apollographql-client-version",
    "graphql-client-name",
    "graphql-client-version",
)
EXPOSED = ("Retry-After",)


def layer(settings: Settings) -> Middleware:
    """Return the layer that answers preflights, and lets the pages read their answers, event streams as well."""
    return Middleware(
        CORSMiddleware,
        allow_origins=[origin.lower() for origin in settings.server.origins],  # as browsers write them
        allow_methods=["POST", *(["GET"] if composition.answers_get(settings) else [])],
        allow_headers=[*HEADERS, *settings.server.cors_headers],
        allow_credentials=settings.server.cors_credentials,
        expose_headers=EXPOSED,
        max_age=MAX_AGE_S,
    )
