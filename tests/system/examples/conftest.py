"""The browser of the pages' tests, and the packages of the clients' tests."""

from tests.system.clients.conftest import node
from tests.system.web.conftest import browser

__all__ = ["browser", "node"]
