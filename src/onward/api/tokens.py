"""Viewers by signed tokens (JWT). A key is bound to one algorithm, and a token must name that one."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from onward.api.base import ApiError
from onward.graphql.base import TOKEN_EXPIRED, NotAuthenticated
from onward.graphql.viewer import MAX_ROLES, MAX_SUBJECT_LENGTH, NOBODY, Viewer
from onward.text.visibility import is_plain

RSA_BITS = 2048
MAX_KNOWN = 1_000  # tokens whose signature has been checked
MAX_TOKEN_LENGTH = 8_000


class UnusableKey(ApiError):
    """A file holds no usable key; the message says why and shows nothing of the key."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key that checks signatures, and the one algorithm it is bound to."""

    algorithm: str
    value: Any


Keys = Mapping[str | None, Key]
"""Keys by their id (`kid`). A single key stands under None and is used for every token."""


def secret(value: str) -> Keys:
    return {None: Key("HS256", value)}


def public_key(pem: bytes) -> Keys:
    """Read a key for RS256 or ES256, by its kind. Raises UnusableKey."""
    try:
        found = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKey("is not a public key in PEM") from None
    return {None: _bound(found)}


def key_set(text: bytes) -> Keys:
    """The keys of a JWK set. Raises UnusableKey."""
    try:
        listed = json.loads(text)["keys"]
        found = [(jwk["kid"], _from_jwk(jwk)) for jwk in listed if jwk.get("use", "sig") == "sig"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, jwt.PyJWTError):
        raise UnusableKey("is not a JWK set of RSA and P-256 keys, each with a kid") from None
    keys: dict[str | None, Key] = {kid: key for kid, key in found if isinstance(kid, str)}
    if not keys or len(keys) < len(found):
        raise UnusableKey("has no key for signatures, or two with one kid")
    return keys


def _from_jwk(jwk: Mapping[str, Any]) -> Key:
    if jwk["kty"] not in ("RSA", "EC") or "d" in jwk:
        raise UnusableKey("holds a key that is not public; leave secrets out of it")
    key = _bound(jwt.PyJWK.from_dict(dict(jwk)).key)
    if jwk.get("alg", key.algorithm) != key.algorithm:
        raise UnusableKey("names an algorithm that is not RS256 or ES256, or does not fit its key")
    return key


def _bound(key: object) -> Key:
    if isinstance(key, RSAPublicKey):
        if key.key_size < RSA_BITS:
            raise UnusableKey(f"has an RSA key of {key.key_size} bits, the minimum is {RSA_BITS}")
        return Key("RS256", key)
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return Key("ES256", key)
    raise UnusableKey("holds a key that is neither RSA (RS256) nor on the curve P-256 (ES256)")


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims that hold a token's subject and its roles; a dot leads into a nested claim."""

    subject: str = "sub"
    roles: str = "roles"


class Tokens:
    """Identifies viewers by their tokens. Without a token the viewer is nobody, who sees nothing."""

    def __init__(
        self,
        keys: Keys,
        *,
        issuer: str = "",
        audience: str = "",
        leeway_s: float = 0.0,
        claims: Claims = Claims(),
    ) -> None:
        self._keys = keys
        self._issuer = issuer or None
        self._audience = audience or None
        self._leeway_s = leeway_s
        self._claims = claims
        self._known: OrderedDict[str, tuple[Viewer, float]] = OrderedDict()

    def __call__(self, token: str | None) -> Viewer:
        """Return the token's viewer: an `onward.api.request_gate.Authenticate`. Raises NotAuthenticated."""
        if token is None:
            return NOBODY
        known = self._known.get(token)
        if known is None:
            known = self._read(token)
            self._known[token] = known
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        viewer, ends = known
        if time.time() >= ends:
            raise NotAuthenticated(TOKEN_EXPIRED)
        return viewer

    def _read(self, token: str) -> tuple[Viewer, float]:
        try:
            if len(token) > MAX_TOKEN_LENGTH:
                raise NotAuthenticated
            key = self._key(jwt.get_unverified_header(token).get("kid"))
            claims = jwt.decode(
                token,
                key.value,
                algorithms=[key.algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway_s,
                # `sub` is checked below, wherever it is: PyJWT takes no integer for it.
                options={"require": ["exp"], "verify_sub": False, "verify_aud": self._audience is not None},
            )
            ends = float(claims["exp"]) + self._leeway_s
            subject, roles = _claim(claims, self._claims.subject, None), _claim(claims, self._claims.roles, [])
            return Viewer(_subject(subject), _roles(roles), until=ends), ends
        except jwt.ExpiredSignatureError:
            raise NotAuthenticated(TOKEN_EXPIRED) from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise NotAuthenticated from None

    def _key(self, kid: object) -> Key:
        if None in self._keys:
            return self._keys[None]
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        found = self._keys.get(kid) if isinstance(kid, str) else None
        if found is None:
            raise NotAuthenticated
        return found


def _claim(claims: Mapping[str, Any], name: str, missing: object) -> object:
    """Return the claim of this very name, as of https://example.com/roles, else the one that its dots lead to."""
    if name in claims:
        return claims[name]
    found: object = claims
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return missing
        found = found[part]
    return found


def _subject(sub: object) -> str:
    if isinstance(sub, int) and not isinstance(sub, bool):
        sub = str(sub)
    if not isinstance(sub, str) or not 0 < len(sub) <= MAX_SUBJECT_LENGTH or not is_plain(sub):
        raise NotAuthenticated
    return sub


def _roles(roles: object) -> tuple[str, ...]:
    if not isinstance(roles, list) or len(roles) > MAX_ROLES or not all(isinstance(role, str) for role in roles):
        raise NotAuthenticated
    return tuple(roles)
