"""Identifies callers: by the settings' kind of token, or by a function of the project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onward.api.request_gate import Authenticate
from onward.api.viewers import CustomViewers, signature_fault
from onward.config.settings import Auth, Jwt, Settings, SettingsError
from onward.graphql.viewer import ADMIN, Viewer, ViewerFunction
from onward.runtime.loading import load

if TYPE_CHECKING:
    from onward.api.tokens import Keys

EVERYONE = Viewer(None, roles=(ADMIN,))
NO_FUNCTION = (
    'auth.viewer: mode "custom" needs a function from a connection to its viewer: name it, as in "shop.users:viewer",'
    " or give viewer= to Onward.from_settings"
)


def authenticator(settings: Settings, viewer: ViewerFunction | None = None) -> Authenticate | CustomViewers:
    """Return the function that identifies callers; a `viewer` given here comes before the settings.

    Raises SettingsError where no caller could be identified.
    """
    auth = settings.auth
    if viewer is not None or auth.mode == "custom":
        return _custom(auth, viewer)
    if auth.mode == "open":
        return everyone_is_admin
    from onward.api.tokens import Claims, Tokens  # noqa: PLC0415 - an open server starts without PyJWT

    jwt = auth.jwt
    claims = Claims(jwt.subject, jwt.roles)
    return Tokens(_keys(jwt), issuer=jwt.issuer, audience=jwt.audience, leeway_s=jwt.leeway_s, claims=claims)


def everyone_is_admin(_token: str | None) -> Viewer:
    """The viewer of an open server: the one user of their own machine, who may do everything."""
    return EVERYONE


def _custom(auth: Auth, given: ViewerFunction | None) -> CustomViewers:
    """Return the project's function within its bounds. Raises SettingsError."""
    name, function = "viewer=", given
    if function is None:
        if not auth.viewer:
            raise SettingsError(NO_FUNCTION)
        module, _, attribute = auth.viewer.partition(":")
        name, function = f"auth.viewer: {auth.viewer}", getattr(load(module, "auth.viewer"), attribute, None)
        if function is None:
            raise SettingsError(f"auth.viewer: {module} has no function {attribute}")
    if not callable(function):
        raise SettingsError(f"{name} must be a function, and is a {type(function).__name__}")
    if fault := signature_fault(function):
        raise SettingsError(f"{name} {fault}")
    return CustomViewers(function, timeout_s=auth.viewer_timeout_s, recheck_s=auth.recheck_s)


def _keys(jwt: Jwt) -> Keys:
    """The keys that check signatures. Raises SettingsError."""
    from onward.api import tokens  # noqa: PLC0415 - as above

    for name, path, read in (("public_key", jwt.public_key, tokens.public_key), ("jwks", jwt.jwks, tokens.key_set)):
        if path is not None:
            try:
                return read(path.read_bytes())
            except OSError as error:
                raise SettingsError(f"auth.jwt.{name}: {path} cannot be read: {error.strerror}") from error
            except tokens.UnusableKey as error:
                raise SettingsError(f"auth.jwt.{name}: {path} {error}") from error
    return tokens.secret(jwt.secret.get_secret_value())
