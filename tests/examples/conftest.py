"""The browser of the pages' tests, and the packages of the clients' tests."""

from tests.clients.conftest import node
from tests.web.conftest import browser

__all__ = ["browser", "node"]
