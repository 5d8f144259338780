"""Passwords, hashed by Argon2id with the costs that OWASP recommends."""

import asyncio
import secrets

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id


async def hash_password(password: str) -> str:
    return await asyncio.to_thread(_hash, password)


async def is_right(password: str, stored: str | None) -> bool:
    """Check a password. Without a stored one it takes as long, so that nobody learns who has an account."""
    if stored is None:
        await hash_password(password)
        return False
    try:
        await asyncio.to_thread(Argon2id.verify_phc_encoded, password.encode(), stored)
    except InvalidKey:
        return False
    return True


def _hash(password: str) -> str:
    argon2 = Argon2id(salt=secrets.token_bytes(16), length=32, iterations=2, lanes=1, memory_cost=19 * 1024)
    return argon2.derive_phc_encoded(password.encode())
