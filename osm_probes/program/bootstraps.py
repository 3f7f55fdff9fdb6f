"""A new proxy -> the Secret with its bootstrap, which its pod mounts; stored before the pod is let in."""

import base64
from datetime import timedelta
from typing import Final

from osm_probes.admission.patch import Injection
from osm_probes.admission.pod import UUID_LABEL
from osm_probes.admission.sidecar import BOOTSTRAP_FILE
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.kind import SECRETS
from osm_probes.pki.authority import Authority
from osm_probes.xds.bootstrap import AdsTarget, bootstrap
from osm_probes.xds.names import controller_name
from osm_probes.xds.ports import ADS_PORT
from osm_probes.xds.secrets import Secrets

# It is not renewed while its Envoy runs; the ADS lets a proxy in only as long as its pod exists.
_VALIDITY: Final = timedelta(days=3650)


class BootstrapStore:
    """Makes and stores bootstraps of proxies that find the ADS at the controller's Service."""

    def __init__(
        self, client: KubernetesClient, *, authority: Authority, trust_domain: str, osm_namespace: str
    ) -> None:
        self._client = client
        self._authority = authority
        self._trust_domain = trust_domain
        name = controller_name(osm_namespace)
        self._ads = AdsTarget(name, ADS_PORT, name)

    async def __call__(self, injection: Injection) -> None:
        """Store the bootstrap of this proxy. Raises KubernetesError."""
        content = base64.b64encode(self._bootstrap(injection)).decode()
        labels = {UUID_LABEL: injection.proxy.uuid, "app.kubernetes.io/managed-by": "osm-injector"}
        body = {"metadata": {"name": injection.secret, "labels": labels}, "data": {BOOTSTRAP_FILE: content}}
        await self._client.create(SECRETS, body, namespace=injection.namespace)

    def _bootstrap(self, injection: Injection) -> bytes:
        name = injection.proxy.common_name(self._trust_domain)
        certificate = self._authority.issue(name, validity=_VALIDITY)
        return bootstrap(
            injection.proxy,
            trust_domain=self._trust_domain,
            ads=self._ads,
            secrets=Secrets(certificate.chain_pem, certificate.key_pem, self._authority.root_pem),
            probes=injection.probes,
        )
