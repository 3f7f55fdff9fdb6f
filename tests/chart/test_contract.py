"""The chart and the code say the same: ports, paths, flags, names, version."""

from typing import Any

import pytest
import yaml

from osm_probes import __version__
from osm_probes.cluster.webhook_ca_bundle import WEBHOOK
from osm_probes.configuration.controller import parse_controller
from osm_probes.configuration.injector import parse_injector
from osm_probes.mesh.ports import ADS_PORT, ALIVE_PATH, HEALTHZ_PATH, PROBE_PORT, READY_PATH, REVIEW_PATH, WEBHOOK_PORT
from tests.chart.render import CHART, NAMESPACE, find, objects, rendered

pytestmark = pytest.mark.helm


def container(name: str, **values: Any) -> dict[str, Any]:
    """The container of a program."""
    (found,) = find(objects(values), "Deployment", name)["spec"]["template"]["spec"]["containers"]
    return dict(found)


def asked(name: str) -> dict[str, tuple[str, int, str]]:
    """What each probe of a program asks: path, port, scheme."""
    found = container(name)
    handlers = {probe: found[f"{probe}Probe"]["httpGet"] for probe in ("startup", "liveness", "readiness")}
    return {probe: (each["path"], each["port"], each.get("scheme", "HTTP")) for probe, each in handlers.items()}


def test_the_version_is_the_programs() -> None:
    metadata = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (metadata["version"], metadata["appVersion"]) == (__version__, __version__)


def test_probes_of_the_controller_ask_what_it_answers() -> None:
    assert asked("osm-controller") == {
        "startup": (ALIVE_PATH, PROBE_PORT, "HTTP"),
        "liveness": (ALIVE_PATH, PROBE_PORT, "HTTP"),
        "readiness": (READY_PATH, PROBE_PORT, "HTTP"),
    }


def test_probes_of_the_injector_ask_what_it_answers() -> None:
    assert asked("osm-injector") == {
        "startup": (ALIVE_PATH, PROBE_PORT, "HTTP"),
        "liveness": (ALIVE_PATH, PROBE_PORT, "HTTP"),
        "readiness": (HEALTHZ_PATH, WEBHOOK_PORT, "HTTPS"),
    }


@pytest.mark.parametrize(
    ("name", "ports"), [("osm-controller", {ADS_PORT, PROBE_PORT}), ("osm-injector", {WEBHOOK_PORT, PROBE_PORT})]
)
def test_services_and_containers_have_the_ports_where_the_programs_listen(name: str, ports: set[int]) -> None:
    service = find(objects(), "Service", name)["spec"]
    assert {each["port"] for each in service["ports"]} == ports
    assert {each["targetPort"] for each in service["ports"]} == ports
    assert {each["containerPort"] for each in container(name)["ports"]} == ports
    pod = find(objects(), "Deployment", name)["spec"]["template"]
    assert service["selector"].items() <= pod["metadata"]["labels"].items()


def test_the_webhook_is_where_the_injector_answers_reviews() -> None:
    (webhook,) = find(objects(), "MutatingWebhookConfiguration", "osm-webhook-osm")["webhooks"]
    assert webhook["name"] == WEBHOOK
    assert webhook["clientConfig"] == {
        "service": {"name": "osm-injector", "namespace": NAMESPACE, "path": REVIEW_PATH, "port": WEBHOOK_PORT}
    }


def test_where_the_chart_is_applied_without_helm_the_webhook_is_the_same() -> None:
    files = rendered()
    (hook,), (webhook,) = files["osm-injector-webhook-removal"], files["osm-injector-webhook"]
    del hook["metadata"]["annotations"]
    assert hook == webhook


def test_the_controllers_flags_are_its_own() -> None:
    found = container("osm-controller", meshName="shop", trustDomain="shop.example", caBundleSecretName="own")
    assert found["command"] == ["/osm-controller"]
    shared = parse_controller(found["args"]).shared
    assert (shared.mesh_name, shared.osm_namespace) == ("shop", NAMESPACE)
    assert (shared.trust_domain, shared.ca_bundle_secret_name) == ("shop.example", "own")


def test_the_injectors_flags_and_images_are_its_own() -> None:
    values: dict[str, Any] = {
        "meshName": "shop",
        "webhook": {"timeoutSeconds": 7},
        "sidecar": {"image": "one", "initImage": "other", "pullPolicy": "Never"},
    }
    found = container("osm-injector", **values)
    assert found["command"] == ["/osm-injector"]
    environment = {each["name"]: each.get("value", "osm-injector-0") for each in found["env"]}
    given = parse_injector(found["args"], environment)
    assert (given.webhook_config_name, given.webhook_timeout) == ("osm-webhook-shop", 7)
    assert (given.sidecar_image, given.init_image, given.pull_policy) == ("one", "other", "Never")
    assert given.shared.pod == "osm-injector-0"
    (webhook,) = find(objects(values), "MutatingWebhookConfiguration", given.webhook_config_name)["webhooks"]
    assert webhook["timeoutSeconds"] == 7


def test_the_charts_defaults_are_the_programs() -> None:
    required = ["--mesh-name=osm", f"--osm-namespace={NAMESPACE}", "--ca-bundle-secret-name=osm-ca-bundle"]
    mine, given = parse_controller(required), parse_controller(container("osm-controller")["args"])
    for field in ("verbosity", "osm_config_name", "trust_domain", "heartbeat_limit", "canary_limit", "drain_delay"):
        assert getattr(given.shared, field) == getattr(mine.shared, field)
    assert given.shared.grace == mine.shared.grace
    injector = parse_injector([*required, "--webhook-config-name=osm-webhook-osm"], {})
    images = {each["name"]: each.get("value") for each in container("osm-injector")["env"]}
    assert images["OSM_DEFAULT_SIDECAR_IMAGE"] == injector.sidecar_image
    assert images["OSM_DEFAULT_INIT_CONTAINER_IMAGE"] == f"osm-init:{__version__}"
