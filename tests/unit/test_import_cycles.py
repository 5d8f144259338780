"""No module imports itself by way of others, not in a function either."""

import sys
from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

from tests.processes import ROOT

PACKAGES = ("onward", "gql", "handlers", "database")


def test_no_module_imports_itself_by_way_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports for type checkers alone are none."""
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))
