"""The manifests in deploy/kubernetes agree with the program, and use known fields only."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from onward.cli.main import program
from onward.config.settings import Settings, load
from onward.telemetry.endpoint import split
from onward.worker import worker_runtime
from tests.integration.telemetry.test_observability import METRIC, samples
from tests.processes import ROOT
from tests.system.deploy.test_files import DEPLOY, variables

FOLDER = DEPLOY / "kubernetes"
FILES = sorted(FOLDER.rglob("*.yaml"))
TEXT, NUMBER, FLAG = str, int, bool
QUANTITY = re.compile(r"\d+(m|Mi|Gi)?")
LABELS = {"app.kubernetes.io/name": TEXT, "app.kubernetes.io/component": TEXT}
NAMED = {"name": TEXT, "labels": LABELS}
SELECTOR = {"matchLabels": LABELS}
QUANTITIES = {"cpu": QUANTITY, "memory": QUANTITY}
PROBE = {
    "httpGet": {"path": TEXT, "port": TEXT},
    "periodSeconds": NUMBER,
    "timeoutSeconds": NUMBER,
    "failureThreshold": NUMBER,
}
CONTAINER = {
    "name": TEXT,
    "image": TEXT,
    "args": [TEXT],
    "envFrom": [{"secretRef": {"name": TEXT}}],
    "env": [{"name": TEXT, "value": TEXT}],
    "ports": [{"name": TEXT, "containerPort": NUMBER}],
    "lifecycle": {"preStop": {"exec": {"command": [TEXT]}}},
    "startupProbe": PROBE,
    "livenessProbe": PROBE,
    "readinessProbe": PROBE,
    "securityContext": {
        "allowPrivilegeEscalation": FLAG,
        "readOnlyRootFilesystem": FLAG,
        "capabilities": {"drop": [TEXT]},
    },
    "resources": {"requests": QUANTITIES, "limits": {"memory": QUANTITY}},
    "volumeMounts": [{"name": TEXT, "mountPath": TEXT}],
}
POD = {
    "metadata": {"labels": LABELS, "annotations": {"prometheus.io/scrape": TEXT, "prometheus.io/port": TEXT}},
    "spec": {
        "restartPolicy": TEXT,
        "terminationGracePeriodSeconds": NUMBER,
        "automountServiceAccountToken": FLAG,
        "enableServiceLinks": FLAG,
        "shareProcessNamespace": FLAG,
        "securityContext": {
            "runAsNonRoot": FLAG,
            "runAsUser": NUMBER,
            "runAsGroup": NUMBER,
            "fsGroup": NUMBER,
            "seccompProfile": {"type": TEXT},
        },
        "topologySpreadConstraints": [
            {"maxSkew": NUMBER, "topologyKey": TEXT, "whenUnsatisfiable": TEXT, "labelSelector": SELECTOR}
        ],
        "containers": [CONTAINER],
        "volumes": [{"name": TEXT, "emptyDir": {"sizeLimit": QUANTITY}}],
    },
}
KINDS: Mapping[tuple[str, str], Any] = {
    ("kustomize.config.k8s.io/v1beta1", "Kustomization"): {
        "namespace": TEXT,
        "resources": [TEXT],
        "images": [{"name": TEXT, "newName": TEXT, "newTag": TEXT}],
        "patches": [{"target": {"kind": TEXT, "name": TEXT}, "patch": TEXT}],
    },
    ("batch/v1", "Job"): {
        "metadata": NAMED,
        "spec": {"backoffLimit": NUMBER, "activeDeadlineSeconds": NUMBER, "template": POD},
    },
    ("apps/v1", "Deployment"): {
        "metadata": NAMED,
        "spec": {
            "replicas": NUMBER,
            "strategy": {"rollingUpdate": {"maxUnavailable": NUMBER, "maxSurge": NUMBER}},
            "selector": SELECTOR,
            "template": POD,
        },
    },
    ("v1", "Service"): {
        "metadata": NAMED,
        "spec": {"selector": LABELS, "ports": [{"name": TEXT, "port": NUMBER, "targetPort": TEXT}]},
    },
    ("policy/v1", "PodDisruptionBudget"): {
        "metadata": NAMED,
        "spec": {"maxUnavailable": NUMBER, "selector": SELECTOR},
    },
    ("autoscaling/v2", "HorizontalPodAutoscaler"): {
        "metadata": NAMED,
        "spec": {
            "scaleTargetRef": {"apiVersion": TEXT, "kind": TEXT, "name": TEXT},
            "minReplicas": NUMBER,
            "maxReplicas": NUMBER,
            "metrics": [
                {"type": TEXT, "resource": {"name": TEXT, "target": {"type": TEXT, "averageUtilization": NUMBER}}}
            ],
        },
    },
    ("keda.sh/v1alpha1", "ScaledObject"): {
        "metadata": NAMED,
        "spec": {
            "scaleTargetRef": {"name": TEXT},
            "minReplicaCount": NUMBER,
            "maxReplicaCount": NUMBER,
            "pollingInterval": NUMBER,
            "cooldownPeriod": NUMBER,
            "fallback": {"failureThreshold": NUMBER, "replicas": NUMBER},
            "triggers": [
                {
                    "type": TEXT,
                    "metricType": TEXT,
                    "metadata": {"serverAddress": TEXT, "query": TEXT, "threshold": TEXT},
                }
            ],
        },
    },
}


def documents(file: Path) -> list[Any]:
    """Return the documents of the file. Fails for a key that comes twice, which Kubernetes refuses."""
    text = file.read_text("utf-8")
    for node in yaml.compose_all(text, yaml.SafeLoader):
        refuse_twins(node)
    return list(yaml.safe_load_all(text))


def refuse_twins(node: Any) -> None:
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"{node.start_mark}: {keys}"
        for _, value in node.value:
            refuse_twins(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            refuse_twins(value)


def objects(kind: str = "") -> Iterator[Any]:
    yield from (found for file in FILES for found in documents(file) if kind in {"", found["kind"]})


def named(kind: str, name: str) -> Any:
    (found,) = [one for one in objects(kind) if one["metadata"]["name"] == name]
    return found


def pods() -> Iterator[Any]:
    yield from (found["spec"]["template"] for kind in ("Deployment", "Job") for found in objects(kind))


def faults(value: Any, form: Any, path: str) -> Iterator[str]:
    """Return where the value has another form, or a field that the form lacks."""
    if isinstance(form, dict):
        if not isinstance(value, dict):
            yield f"{path} must be a table"
            return
        for key, inner in value.items():
            yield from faults(inner, form[key], f"{path}.{key}") if key in form else [f"{path}.{key} is unknown"]
    elif isinstance(form, list):
        if not isinstance(value, list) or not value:
            yield f"{path} must be a list with items"
            return
        for number, inner in enumerate(value):
            yield from faults(inner, form[0], f"{path}[{number}]")
    elif isinstance(form, re.Pattern):
        if not form.fullmatch(str(value)):
            yield f"{path} must be a quantity"
    elif type(value) is not form:
        yield f"{path} must be a {form.__name__}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(FOLDER)))
def test_every_manifest_has_known_fields_of_their_types(file: Path) -> None:
    for found in documents(file):
        form = KINDS[found.pop("apiVersion"), found.pop("kind")]
        assert list(faults(found, form, file.name)) == []


def test_a_misspelt_field_and_a_wrong_type_are_found() -> None:
    form = KINDS["apps/v1", "Deployment"]
    assert list(faults({"spec": {"replica": 2}}, form, "x")) == ["x.spec.replica is unknown"]
    assert list(faults({"spec": {"replicas": "2"}}, form, "x")) == ["x.spec.replicas must be a int"]
    assert list(faults({"spec": {"template": {"spec": {"containers": []}}}}, form, "x")) != []


@pytest.mark.parametrize("folder", ["base", "keda"])
def test_a_kustomization_names_every_file_of_its_folder(folder: str) -> None:
    (found,) = documents(FOLDER / folder / "kustomization.yaml")
    files = {file.name for file in (FOLDER / folder).iterdir()} - {"kustomization.yaml"}
    assert set(found["resources"]) - {"../base"} == files
    assert found["namespace"] == "onward"


def test_the_image_is_that_of_the_release() -> None:
    ((image,), *_) = [found["images"] for found in objects("Kustomization") if "images" in found]
    assert {container["image"] for pod in pods() for container in pod["spec"]["containers"]} == {image["name"]}
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert version
    assert image["newTag"] == version[1]


def test_each_pod_runs_a_command_of_the_program_with_settings_of_it() -> None:
    known, commands = set(variables(Settings)), []
    for pod in pods():
        (container,) = pod["spec"]["containers"]
        found: Any = typer.main.get_command(program())
        found.commands[container["args"][0]].make_context(container["args"][0], list(container["args"][1:]))
        commands.append(container["args"][0])
        assert {one["name"] for one in container.get("env", ())} <= known
    assert sorted(commands) == ["migrate", "serve", "worker"]


def test_the_settings_start_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    """The secret holds what docs/deploying.md says."""
    page = (ROOT / "docs/deploying.md").read_text("utf-8")
    secret = dict(re.findall(r"--from-literal=(ONWARD_\w+)=(\S+)", page))
    mail = {f"ONWARD_EMAIL__SMTP__{name}" for name in ("HOST", "PORT", "TLS")}
    addresses = {"ONWARD_DATABASE__URL", "ONWARD_BACKENDS__DRAMATIQ__URL"}
    assert secret.keys() == {*addresses, *mail, "ONWARD_AUTH__JWT__SECRET"}
    monkeypatch.setenv("ONWARD_AUTH__JWT__SECRET", "s" * 32)
    for name in secret.keys() - {"ONWARD_AUTH__JWT__SECRET"}:
        monkeypatch.setenv(name, secret[name].strip('"'))
    for pod in pods():
        for one in pod["spec"]["containers"][0].get("env", ()):
            monkeypatch.setenv(one["name"], one["value"])
    settings = load(DEPLOY)
    assert (settings.environment, settings.backend, settings.auth.mode) == ("production", "dramatiq", "jwt")
    assert (settings.email.smtp.host, settings.email.smtp.tls) == ("smtp.example.com", "starttls")


def test_ports_are_those_of_the_settings() -> None:
    for component, port in (("api", 8000), ("worker", None)):
        (container,) = named("Deployment", f"onward-{component}")["spec"]["template"]["spec"]["containers"]
        ports = {one["name"]: one["containerPort"] for one in container["ports"]}
        env = {one["name"]: one["value"] for one in container["env"]}
        assert ports["metrics"] == split(env["ONWARD_TELEMETRY__METRICS"])[1]
        annotations = named("Deployment", f"onward-{component}")["spec"]["template"]["metadata"]["annotations"]
        assert annotations["prometheus.io/port"] == str(ports["metrics"])
        if port is not None:
            assert ports["http"] == port == Settings.model_fields["server"].default.port
            assert container["args"] == ["serve", "--host", "0.0.0.0"]
        else:
            assert ports["health"] == split(env["ONWARD_WORKER__HEALTH"])[1]
            assert container["args"][:3] == ["worker", "--processes", "1"], "a second process would have another port"


def test_probes_ask_a_port_and_a_path_that_there_are() -> None:
    paths = set(re.findall(r'"(/health/\w+)"', (ROOT / "src/onward/worker/health.py").read_text("utf-8")))
    for name in ("onward-api", "onward-worker"):
        (container,) = named("Deployment", name)["spec"]["template"]["spec"]["containers"]
        ports = {one["name"] for one in container["ports"]}
        probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
        assert {one["port"] for one in probes} == {"http" if name == "onward-api" else "health"} <= ports
        assert {one["path"] for one in probes} <= paths
        assert probes[0]["path"] == probes[1]["path"] == "/health/live", "Redis away is no reason for a restart"
    service = named("Service", "onward")["spec"]["ports"][0]
    assert service["targetPort"] == "http"


def test_selectors_find_the_pods_and_nobody_else_s() -> None:
    for deployment in objects("Deployment"):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"] == labels == deployment["metadata"]["labels"]
        (spread,) = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert spread["labelSelector"]["matchLabels"] == labels
        budget = named("PodDisruptionBudget", deployment["metadata"]["name"])["spec"]
        assert budget["selector"]["matchLabels"] == labels
    api = named("Deployment", "onward-api")["metadata"]["labels"]
    assert named("Service", "onward")["spec"]["selector"] == api
    components = [pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods()]
    assert len(components) == len(set(components))


def test_processes_have_few_rights() -> None:
    for pod in pods():
        spec = pod["spec"]
        user = re.search(r"^USER (\d+)$", (DEPLOY / "Dockerfile").read_text("utf-8"), re.MULTILINE)
        assert user
        assert spec["securityContext"]["runAsUser"] == int(user[1])
        assert (spec["securityContext"]["runAsNonRoot"], spec["automountServiceAccountToken"]) == (True, False)
        assert spec["enableServiceLinks"] is False
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {one["mountPath"] for one in container["volumeMounts"]} == {"/tmp", "/var/lib/onward"}
        assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in spec["volumes"]}
        assert container["resources"]["limits"]["memory"]


def test_what_handlers_leave_behind_is_waited_for() -> None:
    """Without it Onward, the first process of its container, would get what a killed handler has started, for ever."""
    for deployment in objects("Deployment"):
        assert deployment["spec"]["template"]["spec"]["shareProcessNamespace"] is True
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]
    assert services["api"]["init"] is services["worker"]["init"] is True


def test_a_pod_is_given_the_time_to_drain() -> None:
    needed = Settings.model_fields["server"].default.drain_s + worker_runtime.EXIT_GRACE_S
    for deployment in objects("Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        hook = (
            spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
        )
        assert spec["terminationGracePeriodSeconds"] > needed + int(hook[1])


def test_workers_are_scaled_by_exported_metrics() -> None:
    (scaled,) = objects("ScaledObject")
    assert scaled["spec"]["scaleTargetRef"]["name"] == "onward-worker"
    (scaler,) = objects("HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == "onward-api"
    asked = set(METRIC.findall(" ".join(one["metadata"]["query"] for one in scaled["spec"]["triggers"])))
    assert asked == {"onward_handler_depth", "onward_handler_oldest_seconds"}
    assert asked <= samples()
    for one in scaled["spec"]["triggers"]:
        assert float(one["metadata"]["threshold"]) > 0


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl, which builds without a cluster")
@pytest.mark.parametrize("folder", ["base", "keda"])
def test_kustomize_builds_it(folder: str) -> None:
    built = subprocess.run(
        ["kubectl", "kustomize", str(FOLDER / folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert built.returncode == 0, built.stderr
    made = list(yaml.safe_load_all(built.stdout))
    assert {one["metadata"]["namespace"] for one in made} == {"onward"}
    replicas = ["replicas" in one["spec"] for one in made if one["kind"] == "Deployment"]
    assert replicas == [folder == "base"] * 2
