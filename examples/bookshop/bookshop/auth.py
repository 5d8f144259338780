"""Accounts and sessions: who registers or signs in gets a cookie, which is good for two weeks."""

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import AfterValidator, BaseModel, EmailStr, Field
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from starlette.requests import HTTPConnection

from bookshop.database import Session
from bookshop.models import SignIn, User
from bookshop.passwords import hash_password, is_right

COOKIE = "bookshop_session"
LIFETIME = timedelta(days=14)
router = APIRouter()


class Credentials(BaseModel):
    email: Annotated[EmailStr, AfterValidator(str.lower)]
    password: Annotated[str, Field(min_length=10, max_length=200)]


@router.post("/register", status_code=204)
async def register(given: Credentials, request: Request, response: Response) -> None:
    user = User(email=given.email, password=await hash_password(given.password))
    try:
        async with Session.begin() as db:
            db.add(user)
    except IntegrityError as error:
        raise HTTPException(409, "This address has an account already.") from error
    await _begin(user, request, response)


@router.post("/login", status_code=204)
async def login(given: Credentials, request: Request, response: Response) -> None:
    async with Session() as db:
        user = await db.scalar(select(User).where(User.email == given.email))
    right = await is_right(given.password, user.password if user else None)
    if user is None or not right:
        raise HTTPException(401, "The address or the password is wrong.")
    await _begin(user, request, response)


@router.post("/logout", status_code=204)
async def logout(connection: HTTPConnection, response: Response) -> None:
    async with Session.begin() as db:
        await db.execute(delete(SignIn).where(SignIn.token_hash == _hash(connection)))
    response.delete_cookie(COOKIE)


async def current_user(connection: HTTPConnection) -> User | None:
    """The user of a request or a WebSocket, by the cookie; None for a guest."""
    if COOKIE not in connection.cookies:
        return None
    signed_in = select(SignIn.user_id).where(
        SignIn.token_hash == _hash(connection), SignIn.expires_at > datetime.now(UTC)
    )
    async with Session() as db:
        return await db.scalar(select(User).where(User.id == signed_in.scalar_subquery()))


async def _begin(user: User, request: Request, response: Response) -> None:
    token = secrets.token_urlsafe(32)
    async with Session.begin() as db:
        db.add(SignIn(token_hash=_digest(token), user_id=user.id, expires_at=datetime.now(UTC) + LIFETIME))
    secure, max_age = request.url.scheme == "https", int(LIFETIME.total_seconds())
    response.set_cookie(COOKIE, token, max_age=max_age, httponly=True, samesite="lax", secure=secure)


def _hash(connection: HTTPConnection) -> str:
    return _digest(connection.cookies.get(COOKIE, ""))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
