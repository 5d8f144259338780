"""Tokens: the accepted and the refused ones."""

import base64
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from onward.api import tokens
from onward.api.app import create_app
from onward.api.tokens import Claims, Tokens, UnusableKey
from onward.config.settings import SettingsError
from onward.graphql.base import NotAuthenticated
from tests.integration.graphql.conftest import running, settings_in

SECRET = "a secret of thirty-two characters"
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
KEYCLOAK = {"user": {"id": "k"}, "realm_access": {"roles": ["staff"]}}


def claims(**further: Any) -> dict[str, Any]:
    return {"sub": "ada", "exp": time.time() + 60, **further}


def pem(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def jwk(key: Any, **further: Any) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), **further}


def key_set(*keys: Any) -> bytes:
    return json.dumps({"keys": keys}).encode()


def signed(header: Any, payload: Any, signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def test_a_token_gives_its_viewer() -> None:
    until = time.time() + 60
    viewer = Tokens(tokens.secret(SECRET))(jwt.encode(claims(exp=until, roles=["admin", "x"]), SECRET, "HS256"))
    assert (viewer.subject, viewer.roles, viewer.is_nobody) == ("ada", ("admin", "x"), False)
    assert viewer.until == pytest.approx(until)


@pytest.mark.parametrize(
    ("names", "further", "found"),
    [
        (Claims(), {"sub": 42}, ("42", ())),
        (Claims(subject="uid"), {"uid": 42, "sub": "bob"}, ("42", ())),
        (Claims(subject="user.id", roles="realm_access.roles"), KEYCLOAK, ("k", ("staff",))),
        (Claims(roles="https://example.com/roles"), {"https://example.com/roles": ["x"]}, ("ada", ("x",))),
        (Claims(roles="a.b"), {"a.b": ["exact"], "a": {"b": ["nested"]}}, ("ada", ("exact",))),
        (Claims(roles="realm_access.roles"), {"realm_access": {}}, ("ada", ())),
        (Claims(roles="realm_access.roles"), {"realm_access": "x"}, ("ada", ())),
        (Claims(roles="groups"), {"roles": ["admin"]}, ("ada", ())),
    ],
)
def test_claims_are_found_by_their_names(names: Claims, further: dict[str, Any], found: tuple[str, Any]) -> None:
    viewer = Tokens(tokens.secret(SECRET), claims=names)(jwt.encode(claims(**further), SECRET, "HS256"))
    assert (viewer.subject, viewer.roles) == found


@pytest.mark.parametrize(
    ("names", "further"),
    [
        (Claims(), {"sub": True}),
        (Claims(), {"sub": 1.5}),
        (Claims(), {"sub": ["ada"]}),
        (Claims(), {"roles": None}),
        (Claims(subject="uid"), {}),
        (Claims(subject="user.id"), {"user": {"id": {"id": "x"}}}),
        (Claims(subject="user.id"), {"user": "ada"}),
        (Claims(roles="realm_access.roles"), {"realm_access": {"roles": "admin"}}),
    ],
)
def test_a_claim_of_another_type_or_a_missing_subject_is_refused(names: Claims, further: dict[str, Any]) -> None:
    with pytest.raises(NotAuthenticated):
        Tokens(tokens.secret(SECRET), claims=names)(jwt.encode(claims(**further), SECRET, "HS256"))


async def test_the_settings_name_the_claims(tmp_path: Path) -> None:
    named = {"secret": SECRET, "subject": "user.id", "roles": "realm_access.roles"}
    async with running(settings_in(tmp_path, auth={"mode": "jwt", "jwt": named})) as api:
        header = {"authorization": f"Bearer {jwt.encode(claims(**KEYCLOAK), SECRET, 'HS256')}"}
        response = await api.post({"query": "{ viewer { id roles } }"}, headers=header)
    assert response.json() == {"data": {"viewer": {"id": "k", "roles": ["staff"]}}}


def test_no_token_means_no_viewer() -> None:
    viewer = Tokens(tokens.secret(SECRET))(None)
    assert viewer.is_nobody
    assert not viewer.visible.everything


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256")])
def test_a_public_key_checks_the_one_algorithm_that_it_is_for(key: Any, algorithm: str) -> None:
    known = Tokens(tokens.public_key(pem(key)))
    assert known(jwt.encode(claims(), key, algorithm)).subject == "ada"
    assert known(jwt.encode(claims(), key, algorithm, headers={"kid": "whatever"})).subject == "ada"


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "..",
        "a.b.c",
        "é.é.é",
        "9" * 20_000,
        jwt.encode(claims(), "another secret of thirty-two letters", "HS256"),
        jwt.encode(claims(), SECRET.ljust(64), "HS512"),
        jwt.encode(claims(), SECRET, "HS256")[:-2],
        signed({"alg": "none", "typ": "JWT"}, claims()),
        signed({"alg": "None"}, claims()),
        signed({"alg": ""}, claims()),
        signed({}, claims()),
        signed({"alg": ["HS256"]}, claims()),
        signed([], claims()),
        signed({"alg": "HS256", "kid": ["a"]}, claims()),
        jwt.encode(claims(), RSA, "RS256"),
        jwt.encode({"exp": time.time() + 60}, SECRET, "HS256"),
        jwt.encode({"sub": "ada"}, SECRET, "HS256"),
        jwt.encode(claims(exp=time.time() - 1), SECRET, "HS256"),
        jwt.encode(claims(exp="soon"), SECRET, "HS256"),
        jwt.encode(claims(exp=1e300), SECRET, "HS256")[:-3] + "AAA",
        jwt.encode(claims(nbf=time.time() + 60), SECRET, "HS256"),
        jwt.encode(claims(sub=""), SECRET, "HS256"),
        jwt.encode(claims(sub="a\nb"), SECRET, "HS256"),
        jwt.encode(claims(sub="x" * 300), SECRET, "HS256"),
        jwt.encode(claims(roles="admin"), SECRET, "HS256"),
        jwt.encode(claims(roles={"admin": True}), SECRET, "HS256"),
        jwt.encode(claims(roles=[1]), SECRET, "HS256"),
        jwt.encode(claims(), SECRET, "HS256", headers={"crit": ["b64"], "b64": False}),
    ],
    ids=lambda _: "token",  # made anew each time, and the same name in every process
)
def test_any_other_token_is_refused_with_the_same_message(token: str) -> None:
    with pytest.raises(NotAuthenticated) as refused:
        Tokens(tokens.secret(SECRET))(token)
    assert refused.value.message in {"A valid bearer token is needed.", "The bearer token has expired."}


@pytest.mark.parametrize("key", [RSA, EC])
def test_a_public_key_does_not_verify_an_hmac_signature(key: Any) -> None:
    for material in (pem(key), pem(key).strip()):
        head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")
        body = base64.urlsafe_b64encode(json.dumps(claims()).encode()).rstrip(b"=")
        mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(head + b"." + body, material)
        token = b".".join((head, body, base64.urlsafe_b64encode(mac).rstrip(b"="))).decode()
        for keys in (tokens.public_key(pem(key)), tokens.key_set(key_set(jwk(key, kid="a")))):
            with pytest.raises(NotAuthenticated):
                Tokens(keys)(token)


def test_a_key_inside_the_token_is_ignored() -> None:
    other = rsa.generate_private_key(65537, 2048)
    token = jwt.encode(claims(), other, "RS256", headers={"jwk": jwk(other), "jku": "https://evil.example/jwks"})
    with pytest.raises(NotAuthenticated):
        Tokens(tokens.public_key(pem(RSA)))(token)


def test_issuer_and_audience_must_be_those_of_the_settings() -> None:
    known = Tokens(tokens.secret(SECRET), issuer="https://id.example", audience="onward")
    fitting = {"iss": "https://id.example", "aud": ["other", "onward"]}
    assert known(jwt.encode(claims(**fitting), SECRET, "HS256")).subject == "ada"
    for wrong in ({"iss": "https://evil.example"}, {"aud": "other"}, {"aud": None}, {"iss": None}):
        given = {name: value for name, value in {**fitting, **wrong}.items() if value is not None}
        with pytest.raises(NotAuthenticated):
            known(jwt.encode(claims(**given), SECRET, "HS256"))


def test_a_valid_token_expires() -> None:
    known, token = Tokens(tokens.secret(SECRET)), jwt.encode(claims(exp=time.time() + 1.2), SECRET, "HS256")
    assert known(token).subject == "ada"
    time.sleep(1.3)
    with pytest.raises(NotAuthenticated, match="expired"):
        known(token)


def test_a_clock_may_differ_by_the_leeway() -> None:
    token = jwt.encode(claims(exp=time.time() - 5), SECRET, "HS256")
    assert Tokens(tokens.secret(SECRET), leeway_s=10)(token).subject == "ada"


def test_the_cache_of_tokens_is_bounded() -> None:
    known = Tokens(tokens.secret(SECRET))
    for number in range(tokens.MAX_KNOWN + 10):
        known(jwt.encode(claims(sub=str(number)), SECRET, "HS256"))
    assert len(known._known) == tokens.MAX_KNOWN


def test_a_key_set_knows_its_keys_by_their_kid() -> None:
    known = Tokens(tokens.key_set(key_set(jwk(RSA, kid="r", use="sig", alg="RS256"), jwk(EC, kid="e"))))
    assert known(jwt.encode(claims(), RSA, "RS256", headers={"kid": "r"})).subject == "ada"
    assert known(jwt.encode(claims(), EC, "ES256", headers={"kid": "e"})).subject == "ada"
    for key, algorithm, kid in ((RSA, "RS256", "e"), (EC, "ES256", "r"), (RSA, "PS256", "r"), (RSA, "RS256", "x")):
        with pytest.raises(NotAuthenticated):
            known(jwt.encode(claims(), key, algorithm, headers={"kid": kid}))
    with pytest.raises(NotAuthenticated):
        known(jwt.encode(claims(), RSA, "RS256"))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": []}',
        b'{"keys": [5]}',
        key_set(jwk(RSA)),
        key_set(jwk(RSA, kid=5)),
        key_set(jwk(RSA, kid="a"), jwk(EC, kid="a")),
        key_set(jwk(RSA, kid="a", use="enc")),
        key_set(jwk(RSA, kid="a", alg="HS256")),
        key_set(jwk(RSA, kid="a", alg="RS512")),
        key_set(jwk(EC, kid="a", alg="RS256")),
        key_set({"kty": "oct", "k": "c2VjcmV0", "kid": "a"}),
        key_set(jwk(ec.generate_private_key(ec.SECP384R1()), kid="a")),
        key_set(jwt.algorithms.RSAAlgorithm.to_jwk(RSA, as_dict=True) | {"kid": "a"}),
    ],
)
def test_an_ambiguous_key_set_is_refused(text: bytes) -> None:
    with pytest.raises(UnusableKey):
        tokens.key_set(text)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"x",
        SECRET.encode(),
        pem(rsa.generate_private_key(65537, 1024)),
        pem(ec.generate_private_key(ec.SECP384R1())),
    ],
)
def test_an_invalid_or_weak_public_key_is_refused(text: bytes) -> None:
    with pytest.raises(UnusableKey):
        tokens.public_key(text)


@pytest.mark.parametrize("name", ["public_key", "jwks"])
@pytest.mark.parametrize("content", [None, b"x"])
def test_an_invalid_key_file_stops_the_start(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    settings = settings_in(tmp_path, auth={"mode": "jwt", "jwt": {name: "key"}})
    with pytest.raises(SettingsError, match=f"auth.jwt.{name}: .*key "):
        create_app(settings)
