"""All fuzz targets."""

from tests.fuzz.targets import ads, grpc_health, http, kubeconfig, manifests, review, texts

TARGETS = (
    *manifests.TARGETS,
    *kubeconfig.TARGETS,
    *texts.TARGETS,
    *review.TARGETS,
    *ads.TARGETS,
    *grpc_health.TARGETS,
    *http.TARGETS,
)
