from tests.system.clients.conftest import node
from tests.system.web.conftest import browser

__all__ = ["browser", "node"]
