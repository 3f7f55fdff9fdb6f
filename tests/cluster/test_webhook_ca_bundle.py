import base64

import msgspec
import pytest

from osm_probes.cluster.webhook_ca_bundle import WEBHOOK, Entry, MalformedConfigurationError, entry_of


def configuration(*webhooks: object) -> bytes:
    return msgspec.json.encode({"metadata": {"name": "osm-webhook-osm", "resourceVersion": "7"}, "webhooks": webhooks})


OTHER = {"name": "other.k8s.io", "clientConfig": {"caBundle": "T1RIRVI="}}
OURS = {"name": WEBHOOK, "clientConfig": {"url": "https://127.0.0.1:1", "caBundle": "T1VSUw=="}}


@pytest.mark.parametrize(
    ("content", "entry"),
    [
        (configuration(OURS), Entry("7", 0, base64.b64encode(b"OURS").decode())),
        (configuration(OTHER, OURS), Entry("7", 1, base64.b64encode(b"OURS").decode())),
        (configuration({"name": WEBHOOK, "clientConfig": {}}), Entry("7", 0, "")),
        (configuration(OTHER), Entry("7")),
        (configuration({**OURS, "name": f"x.{WEBHOOK}"}), Entry("7")),
        (b'{"metadata": {"resourceVersion": "7"}}', Entry("7")),
    ],
)
def test_our_webhook_is_found_by_its_name_alone(content: bytes, entry: Entry) -> None:
    assert entry_of(content) == entry


def test_a_bundle_that_is_overwritten_twice_alike_is_news_twice() -> None:
    first, second = configuration(OURS), configuration(OURS).replace(b'"7"', b'"8"')
    assert entry_of(first) != entry_of(second)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"webhooks": []}', b'{"metadata": {}, "webhooks": [7]}'])
def test_what_is_no_configuration_is_an_error(content: bytes) -> None:
    with pytest.raises(MalformedConfigurationError):
        entry_of(content)
