"""A handler that is a mutation, in whole processes: accepted over HTTP, run by a worker, read in its type."""

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.processes import graphql, running, wait_until
from tests.servers import free_port

pytestmark = pytest.mark.slow

SEND = """mutation ($input: ShopOrderInput!) {
  shopOrder(input: $input) { job { id backend } errors { code message path } }
}"""
JOB = "query ($id: ID!) { job(id: $id) { status output { ... on Receipt { total items { sku size } } } } }"


@pytest.mark.parametrize("backend", ["background", "dramatiq"])
def test_a_handler_mutation_runs_on_each_backend(backend: str, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(
        f'[server]\nport = 0\n[handlers]\nmodules = ["tests.integration.graphql.declared_handlers"]\n'
        f'[backends.dramatiq]\nurl = "redis://127.0.0.1:{free_port()}/0"\n'
        f'[secrets]\nkeys = ["{Fernet.generate_key().decode()}"]\n'
    )
    order = {"items": [{"sku": "pen", "unitPrice": "1.20", "size": "LARGE"}], "address": {"street": "Main"}}
    with running("up", "--backend", backend, "--processes", "1", project=tmp_path) as all_of_it:
        address = all_of_it.serving()
        payload = graphql(address, SEND, input={"order": order})["shopOrder"]
        assert (payload["errors"], payload["job"]["backend"]) == ([], backend)
        id_ = payload["job"]["id"]
        wait_until(lambda: graphql(address, JOB, id=id_)["job"]["status"] == "SUCCEEDED")
        output = graphql(address, JOB, id=id_)["job"]["output"]
        assert output == {"total": "1.20", "items": [{"sku": "pen", "size": "LARGE"}]}
        order["items"] = []
        errors = graphql(address, SEND, input={"order": order})["shopOrder"]["errors"]
        assert [(error["code"], error["path"]) for error in errors] == [("INVALID", ["order", "items"])]
