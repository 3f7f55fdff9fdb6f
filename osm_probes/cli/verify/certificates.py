"""Check `Certificates`: the certificates that a pod uses do not expire soon, according to its metrics."""

import re
from typing import Final

from osm_probes.cli.verify.result import Result, failure, success, unknown, warning
from osm_probes.foundation.durations import age
from osm_probes.kube.errors import KubernetesError

_NAME: Final = "Certificates"
_METRIC: Final = "osm_certificate_expiry_seconds"
_SAMPLE: Final = re.compile(rf'^{_METRIC}\{{kind="([^"]+)"\}} (\S+)$', re.MULTILINE)
_ROOT: Final = "root"
# Leaf certificates are renewed automatically after two thirds of their validity. A person must replace the root.
_ROOT_WARNING: Final = 30 * 86400.0
_LEAF_WARNING: Final = 300.0
_REPLACE_ROOT: Final = "replace the key pair in the CA's Secret: docs/certificate-authority.md"


def check_certificates(metrics: str | KubernetesError) -> Result:
    """Check the certificates in use. `metrics`: the text of /metrics."""
    if isinstance(metrics, KubernetesError):
        return unknown(_NAME, f"/metrics: {metrics.explain('get pods/proxy')}")
    remaining = {kind: float(seconds) for kind, seconds in _SAMPLE.findall(metrics)}
    if not remaining:
        return unknown(_NAME, f"the pod's metrics do not contain {_METRIC}")
    expired = [
        f"the {kind} certificate expired {age(-seconds)} ago" for kind, seconds in remaining.items() if seconds <= 0
    ]
    expiring = [
        f"the {kind} certificate expires in {age(seconds)}"
        for kind, seconds in remaining.items()
        if 0 < seconds < _warning_limit(kind)
    ]
    suggestions = [_REPLACE_ROOT] if remaining.get(_ROOT, _ROOT_WARNING) < _ROOT_WARNING else []
    if expired:
        return failure(_NAME, *expired, *expiring, suggestions=suggestions)
    return warning(_NAME, *expiring, suggestions=suggestions) if expiring else success(_NAME)


def _warning_limit(kind: str) -> float:
    return _ROOT_WARNING if kind == _ROOT else _LEAF_WARNING
