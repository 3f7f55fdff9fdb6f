import base64
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from osm_probes.cli.control_planes import ControlPlane
from osm_probes.cli.verify.result import Status
from osm_probes.cli.verify.webhook import WebhookConfiguration, check_webhook
from osm_probes.pki.authority import Authority

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BUNDLE = base64.b64encode(Authority.create("a", now=lambda: NOW).root_pem).decode()


def _configuration(
    bundle: str, *, name: str = "osm-inject.k8s.io", namespace: str = "osm-system", service: str = "osm-injector"
) -> WebhookConfiguration:
    config = {"caBundle": bundle, "service": {"namespace": namespace, "name": service}}
    document = {"metadata": {"name": "osm-webhook-osm"}, "webhooks": [{"name": name, "clientConfig": config}]}
    return msgspec.convert(document, WebhookConfiguration)


@pytest.mark.parametrize(
    ("configuration", "now", "reason"),
    [
        (_configuration(BUNDLE), NOW, ""),
        (_configuration(BUNDLE), NOW + timedelta(days=9999), "its CA bundle expired "),
        (_configuration(""), NOW, "it has no CA bundle: the API server does not trust the injector"),
        (_configuration("AAAA"), NOW, "its CA bundle cannot be read: "),
        (_configuration("!"), NOW, "its CA bundle cannot be read: "),
        (_configuration(BUNDLE, namespace="other"), NOW, "its Service is in namespace other, not osm-system"),
        (_configuration(BUNDLE, name="renamed"), NOW, ""),
        (
            _configuration(BUNDLE, name="other", service="other"),
            NOW,
            "it has no webhook osm-inject.k8s.io: new pods get no sidecar",
        ),
        (None, NOW, "the MutatingWebhookConfiguration does not exist: new pods get no sidecar"),
    ],
)
def test_the_webhook_must_exist_and_have_a_valid_ca_bundle(
    configuration: WebhookConfiguration | None, now: datetime, reason: str
) -> None:
    control_plane = ControlPlane("osm", "osm-system", (), ())
    result = check_webhook(control_plane, [configuration] if configuration else [], now=now)
    assert result.status is (Status.FAILURE if reason else Status.SUCCESS)
    assert "".join(result.reasons).startswith(reason)
