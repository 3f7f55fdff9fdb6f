"""The chart and the programs agree on ports, paths, flags, names and version."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from osm_probes import __version__
from osm_probes.cluster.webhook_configuration import WEBHOOK
from osm_probes.configuration.controller import parse_controller
from osm_probes.configuration.injector import parse_injector
from osm_probes.mesh.ports import ADS_PORT, ALIVE_PATH, HEALTHZ_PATH, PROBE_PORT, READY_PATH, REVIEW_PATH, WEBHOOK_PORT
from tests.chart.render import CHART, NAMESPACE, find, objects, rendered

pytestmark = pytest.mark.helm


def container(name: str, **values: Any) -> dict[str, Any]:
    """The container in a program's Deployment."""
    (result,) = find(objects(values), "Deployment", name)["spec"]["template"]["spec"]["containers"]
    return dict(result)


def probe_targets(name: str) -> dict[str, tuple[str, int, str]]:
    """The path, port and scheme of each probe in a program's Deployment."""
    spec = container(name)
    handlers = {probe: spec[f"{probe}Probe"]["httpGet"] for probe in ("startup", "liveness", "readiness")}
    return {
        probe: (handler["path"], handler["port"], handler.get("scheme", "HTTP")) for probe, handler in handlers.items()
    }


def test_the_charts_version_is_the_programs_version() -> None:
    metadata = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (metadata["version"], metadata["appVersion"]) == (__version__, __version__)


def test_the_controllers_probes_use_paths_and_ports_that_it_serves() -> None:
    assert probe_targets("osm-controller") == {
        "startup": (ALIVE_PATH, PROBE_PORT, "HTTP"),
        "liveness": (ALIVE_PATH, PROBE_PORT, "HTTP"),
        "readiness": (READY_PATH, PROBE_PORT, "HTTP"),
    }


def test_the_injectors_probes_use_paths_and_ports_that_it_serves() -> None:
    assert probe_targets("osm-injector") == {
        "startup": (ALIVE_PATH, PROBE_PORT, "HTTP"),
        "liveness": (ALIVE_PATH, PROBE_PORT, "HTTP"),
        "readiness": (HEALTHZ_PATH, WEBHOOK_PORT, "HTTPS"),
    }


@pytest.mark.parametrize(
    ("name", "ports"), [("osm-controller", {ADS_PORT, PROBE_PORT}), ("osm-injector", {WEBHOOK_PORT, PROBE_PORT})]
)
def test_services_and_containers_have_the_ports_on_which_the_programs_listen(name: str, ports: set[int]) -> None:
    service = find(objects(), "Service", name)["spec"]
    assert {port["port"] for port in service["ports"]} == ports
    assert {port["targetPort"] for port in service["ports"]} == ports
    assert {port["containerPort"] for port in container(name)["ports"]} == ports
    pod = find(objects(), "Deployment", name)["spec"]["template"]
    assert service["selector"].items() <= pod["metadata"]["labels"].items()


def test_the_webhook_configuration_points_to_the_injectors_review_path() -> None:
    (webhook,) = find(objects(), "MutatingWebhookConfiguration", "osm-webhook-osm")["webhooks"]
    assert webhook["name"] == WEBHOOK
    assert webhook["clientConfig"] == {
        "service": {"name": "osm-injector", "namespace": NAMESPACE, "path": REVIEW_PATH, "port": WEBHOOK_PORT}
    }


def test_the_removal_hook_equals_the_webhook_configuration() -> None:
    files = rendered()
    (hook,), (webhook,) = files["osm-injector-webhook-removal"], files["osm-injector-webhook"]
    del hook["metadata"]["annotations"]
    assert hook == webhook


def test_the_controller_accepts_the_flags_from_the_chart() -> None:
    spec = container("osm-controller", meshName="shop", trustDomain="shop.example", caBundleSecretName="own")
    assert spec["command"] == ["/osm-controller"]
    shared = parse_controller(spec["args"]).shared
    assert (shared.mesh_name, shared.osm_namespace) == ("shop", NAMESPACE)
    assert (shared.trust_domain, shared.ca_bundle_secret_name) == ("shop.example", "own")


def test_the_injector_accepts_the_flags_and_images_from_the_chart() -> None:
    values: dict[str, Any] = {
        "meshName": "shop",
        "webhook": {"timeoutSeconds": 7},
        "sidecar": {"image": "one", "initImage": "other", "pullPolicy": "Never"},
    }
    spec = container("osm-injector", **values)
    assert spec["command"] == ["/osm-injector"]
    environment = {variable["name"]: variable.get("value", "osm-injector-0") for variable in spec["env"]}
    parsed = parse_injector(spec["args"], environment)
    assert (parsed.webhook_config_name, parsed.webhook_timeout) == ("osm-webhook-shop", 7)
    assert (parsed.sidecar_image, parsed.init_image, parsed.pull_policy) == ("one", "other", "Never")
    assert parsed.shared.pod == "osm-injector-0"
    (webhook,) = find(objects(values), "MutatingWebhookConfiguration", parsed.webhook_config_name)["webhooks"]
    assert webhook["timeoutSeconds"] == 7


def test_the_injector_reads_the_client_ca_from_the_config_map_of_the_value() -> None:
    values = {"webhook": {"clientCAConfigMap": "api-server-ca"}}
    spec = find(objects(values), "Deployment", "osm-injector")["spec"]["template"]["spec"]
    (program,) = spec["containers"]
    file = parse_injector(program["args"], {}).client_ca
    (mount,) = program["volumeMounts"]
    assert file == Path(mount["mountPath"]) / "ca.crt"
    assert spec["volumes"] == [{"name": mount["name"], "configMap": {"name": "api-server-ca"}}]
    assert parse_injector(container("osm-injector")["args"], {}).client_ca is None


def test_pods_may_be_created_only_in_the_namespace_for_dry_runs_and_only_if_it_is_set() -> None:
    creators = {
        namespace: [
            (role["metadata"]["namespace"], rule)
            for role in objects({"webhook": {"dryRunNamespace": namespace}})
            if role["kind"] in {"Role", "ClusterRole"} and role["metadata"]["labels"]["app"] == "osm-injector"
            for rule in role["rules"]
            if {"pods", "*"} & {*rule["resources"]} and rule["verbs"] != ["get"]
        ]
        for namespace in ("", "osm-dry-run")
    }
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}
    assert creators == {"": [], "osm-dry-run": [("osm-dry-run", rule)]}
    arguments = container("osm-injector", webhook={"dryRunNamespace": "osm-dry-run"})["args"]
    assert parse_injector(arguments, {}).dry_run_namespace == "osm-dry-run"
    assert parse_injector(container("osm-injector")["args"], {}).dry_run_namespace == ""


def test_the_network_policy_of_the_webhook_lists_the_peers_of_the_value() -> None:
    peer = {"ipBlock": {"cidr": "10.1.0.0/16"}}
    values = {"networkPolicy": {"enabled": True, "webhookFrom": [peer]}}
    webhook, _ = find(objects(values), "NetworkPolicy", "osm-injector")["spec"]["ingress"]
    assert (webhook["ports"], webhook["from"][-1]) == ([{"protocol": "TCP", "port": 9090}], peer)
    webhook, _ = find(objects({"networkPolicy": {"enabled": True}}), "NetworkPolicy", "osm-injector")["spec"]["ingress"]
    assert "from" not in webhook


def test_the_charts_defaults_are_the_programs_defaults() -> None:
    required = ["--mesh-name=osm", f"--osm-namespace={NAMESPACE}", "--ca-bundle-secret-name=osm-ca-bundle"]
    defaults, chart = parse_controller(required), parse_controller(container("osm-controller")["args"])
    for field in ("verbosity", "osm_config_name", "trust_domain", "heartbeat_limit", "canary_limit", "drain_delay"):
        assert getattr(chart.shared, field) == getattr(defaults.shared, field)
    assert chart.shared.grace == defaults.shared.grace
    injector = parse_injector([*required, "--webhook-config-name=osm-webhook-osm"], {})
    images = {variable["name"]: variable.get("value") for variable in container("osm-injector")["env"]}
    assert images["OSM_DEFAULT_SIDECAR_IMAGE"] == injector.sidecar_image
    assert images["OSM_DEFAULT_INIT_CONTAINER_IMAGE"] == f"osm-init:{__version__}"
