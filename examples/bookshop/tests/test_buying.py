"""Orders, and the mail that confirms them."""

from collections.abc import Callable
from typing import Any

BOOKS = "{ books { id title stock } }"
ORDERS = "{ orders { quantity book { title } } }"
PLACE = "mutation ($book: ID!, $quantity: Int!) { placeOrder(book: $book, quantity: $quantity) { order { id } } }"
Ask = Callable[..., Any]


def book(ask: Ask, title: str) -> Any:
    return next(book for book in ask(BOOKS)["data"]["books"] if book["title"] == title)


def test_an_order_takes_the_book_from_stock_and_is_confirmed(
    ask: Ask, ada: str, letters: Callable[[str], list[str]]
) -> None:
    before = book(ask, "Middlemarch")
    answer = ask(PLACE, book=before["id"], quantity=2)
    assert "errors" not in answer
    (letter,) = letters(ada)
    assert f"Subject: Your order {answer['data']['placeOrder']['order']['id']}" in letter
    assert "2 x Middlemarch by George Eliot" in letter
    assert book(ask, "Middlemarch")["stock"] == before["stock"] - 2
    assert ask(ORDERS)["data"] == {"orders": [{"quantity": 2, "book": {"title": "Middlemarch"}}]}


def test_more_than_the_stock_is_refused_and_changes_nothing(ask: Ask, ada: str) -> None:
    before = book(ask, "Moby-Dick")
    answer = ask(PLACE, book=before["id"], quantity=before["stock"] + 1)
    assert answer["errors"][0]["message"] == "There are not enough copies left."
    assert book(ask, "Moby-Dick") == before
    assert ask(ORDERS)["data"] == {"orders": []}


def test_a_guest_orders_nothing_and_sees_no_orders(ask: Ask) -> None:
    before = book(ask, "Moby-Dick")
    for answer in (ask(PLACE, book=before["id"], quantity=1), ask(ORDERS)):
        assert answer["errors"][0]["message"] == "Sign in first."
    assert book(ask, "Moby-Dick") == before
