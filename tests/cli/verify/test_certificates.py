import pytest

from osm_probes.cli.verify.certificates import check_certificates
from osm_probes.cli.verify.result import Status
from osm_probes.kube.errors import KubernetesError


def _metrics(**remaining: float) -> str:
    return "".join(
        f'osm_certificate_expiry_seconds{{kind="{kind}"}} {seconds}\n' for kind, seconds in remaining.items()
    )


@pytest.mark.parametrize(
    ("metrics", "status", "reasons"),
    [
        (_metrics(root=9e7, ads=8e4), Status.SUCCESS, ()),
        (_metrics(root=1e6, ads=8e4), Status.WARNING, ("the root certificate expires in 11d",)),
        (_metrics(root=9e7, ads=100), Status.WARNING, ("the ads certificate expires in 100s",)),
        (
            _metrics(root=-7200, ads=100),
            Status.FAILURE,
            ("the root certificate expired 2h ago", "the ads certificate expires in 100s"),
        ),
        ("", Status.UNKNOWN, ("the pod's metrics do not contain osm_certificate_expiry_seconds",)),
        (KubernetesError("unreachable"), Status.UNKNOWN, ("/metrics: unreachable",)),
    ],
)
def test_certificates_that_expire_soon_are_found(
    metrics: str | KubernetesError, status: Status, reasons: tuple[str, ...]
) -> None:
    result = check_certificates(metrics)
    assert (result.status, result.reasons) == (status, reasons)
    assert bool(result.suggestions) is any("root" in reason for reason in reasons)
