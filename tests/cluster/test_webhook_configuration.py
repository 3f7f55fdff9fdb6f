import base64
from functools import partial

import msgspec
import pytest

from osm_probes.cluster.webhook_configuration import (
    WEBHOOK,
    ClientConfig,
    MalformedConfigurationError,
    ServiceReference,
    decode_webhook_entry,
)

decode = partial(decode_webhook_entry, osm_namespace="osm-system")


def configuration(*webhooks: object) -> bytes:
    return msgspec.json.encode({"metadata": {"name": "osm-webhook-osm", "resourceVersion": "7"}, "webhooks": webhooks})


BUNDLE = base64.b64encode(b"OURS").decode()
OTHER = {"name": "other.k8s.io", "clientConfig": {"caBundle": "T1RIRVI="}}
OURS = {"name": WEBHOOK, "clientConfig": {"url": "https://127.0.0.1:1", "caBundle": BUNDLE}}
SERVICE = {"namespace": "osm-system", "name": "osm-injector", "path": "/mutate-pod-creation", "port": 9090}
URL = "https://osm-injector.osm-system.svc:9090/mutate-pod-creation"
RENAMED = {"name": "mine.example.org", "clientConfig": {"service": SERVICE, "caBundle": BUNDLE}}
BY_URL = {"name": "mine.example.org", "clientConfig": {"url": URL, "caBundle": BUNDLE}}


@pytest.mark.parametrize(
    ("content", "ours"),
    [
        (configuration(OURS), [(0, WEBHOOK, BUNDLE)]),
        (configuration(OTHER, OURS), [(1, WEBHOOK, BUNDLE)]),
        (configuration({"name": WEBHOOK, "clientConfig": {}}), [(0, WEBHOOK, "")]),
        (configuration(OTHER), []),
        (configuration({**OURS, "name": f"x.{WEBHOOK}"}), []),
        (configuration(RENAMED), [(0, "mine.example.org", BUNDLE)]),
        (configuration(OTHER, BY_URL), [(1, "mine.example.org", BUNDLE)]),
        (configuration(OURS, RENAMED), [(0, WEBHOOK, BUNDLE), (1, "mine.example.org", BUNDLE)]),
        (configuration({**RENAMED, "clientConfig": {"service": {**SERVICE, "namespace": "osm-system-2"}}}), []),
        (configuration({**BY_URL, "clientConfig": {"url": "https://["}}), []),
        (b'{"metadata": {"resourceVersion": "7"}}', []),
    ],
)
def test_our_webhooks_are_found_by_the_charts_name_or_by_whom_they_call(
    content: bytes, ours: list[tuple[int, str, str]]
) -> None:
    entry = decode(content)
    assert [(index, each.name, each.client_config.ca_bundle) for index, each in entry.webhooks] == ours
    assert entry.version == "7"


def test_overwriting_a_bundle_twice_with_the_same_value_makes_two_different_entries() -> None:
    first, second = configuration(OURS), configuration(OURS).replace(b'"7"', b'"8"')
    assert decode(first) != decode(second)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"webhooks": []}', b'{"metadata": {}, "webhooks": [7]}', b'{"metadata":' + b"[" * 100_000]
)
def test_invalid_json_of_a_configuration_is_an_error(content: bytes) -> None:
    with pytest.raises(MalformedConfigurationError):
        decode(content)


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (ClientConfig(service=ServiceReference("ns", "s", "/p", 1)), ("s.ns.svc", 1, "/p")),
        (ClientConfig(service=ServiceReference("ns", "s")), ("s.ns.svc", 443, "")),
        (ClientConfig(url="https://h:8/p"), ("h", 8, "/p")),
        (ClientConfig(url="https://h"), ("h", 443, "")),
        (ClientConfig(url="https://h:99999999/p"), ("", 0, "")),
        (ClientConfig(url="https://[/p"), ("", 0, "")),
        (ClientConfig(), ("", 443, "")),
    ],
)
def test_the_address_is_where_the_api_server_sends_reviews(client: ClientConfig, address: tuple[str, int, str]) -> None:
    assert client.address == address
