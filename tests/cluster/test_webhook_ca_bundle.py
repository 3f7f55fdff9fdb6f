import base64

import msgspec
import pytest

from osm_probes.cluster.webhook_ca_bundle import (
    WEBHOOK,
    MalformedConfigurationError,
    WebhookEntry,
    decode_webhook_entry,
)


def configuration(*webhooks: object) -> bytes:
    return msgspec.json.encode({"metadata": {"name": "osm-webhook-osm", "resourceVersion": "7"}, "webhooks": webhooks})


OTHER = {"name": "other.k8s.io", "clientConfig": {"caBundle": "T1RIRVI="}}
OURS = {"name": WEBHOOK, "clientConfig": {"url": "https://127.0.0.1:1", "caBundle": "T1VSUw=="}}


@pytest.mark.parametrize(
    ("content", "entry"),
    [
        (configuration(OURS), WebhookEntry("7", 0, base64.b64encode(b"OURS").decode())),
        (configuration(OTHER, OURS), WebhookEntry("7", 1, base64.b64encode(b"OURS").decode())),
        (configuration({"name": WEBHOOK, "clientConfig": {}}), WebhookEntry("7", 0, "")),
        (configuration(OTHER), WebhookEntry("7")),
        (configuration({**OURS, "name": f"x.{WEBHOOK}"}), WebhookEntry("7")),
        (b'{"metadata": {"resourceVersion": "7"}}', WebhookEntry("7")),
    ],
)
def test_our_webhook_is_found_only_by_its_exact_name(content: bytes, entry: WebhookEntry) -> None:
    assert decode_webhook_entry(content) == entry


def test_overwriting_a_bundle_twice_with_the_same_value_makes_two_different_entries() -> None:
    first, second = configuration(OURS), configuration(OURS).replace(b'"7"', b'"8"')
    assert decode_webhook_entry(first) != decode_webhook_entry(second)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"webhooks": []}', b'{"metadata": {}, "webhooks": [7]}'])
def test_invalid_json_of_a_configuration_is_an_error(content: bytes) -> None:
    with pytest.raises(MalformedConfigurationError):
        decode_webhook_entry(content)
