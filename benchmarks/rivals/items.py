"""The body and the answer of the rivals' REST endpoints."""

from pydantic import BaseModel


class Item(BaseModel):
    item: str


class Accepted(BaseModel):
    id: str
    status: str
