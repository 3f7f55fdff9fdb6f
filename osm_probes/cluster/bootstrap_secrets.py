"""A proxy -> the Secret with its bootstrap and what it needs for the ADS, which its pod mounts."""

from datetime import timedelta
from typing import Any, Final

from osm_probes.admission.patch import Injection
from osm_probes.admission.sidecar import BOOTSTRAP_FILE, BOOTSTRAP_FOLDER
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.kube.access_review import allowed
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import ForbiddenError, KubernetesError
from osm_probes.kube.kind import SECRETS
from osm_probes.kube.wire import secret_data
from osm_probes.mesh.identity import ProxyName
from osm_probes.mesh.labels import PROXY_UUID, TRUST_MARK
from osm_probes.mesh.ports import ADS_PORT
from osm_probes.pki.trust import Trust
from osm_probes.xds.bootstrap import AdsTarget, bootstrap
from osm_probes.xds.names import controller_name
from osm_probes.xds.secret_files import SecretFiles, secret_files
from osm_probes.xds.secrets import Secrets

# A self-check has three seconds in all.
_REHEARSED_WITHIN: Final = 1.0
# It is not renewed but with the authority; the ADS lets a proxy in only as long as its pod exists.
_VALIDITY: Final = timedelta(days=3650)


class Credentials:
    """Makes what proxies show the ADS, and know it by, as the newest `trust` has it."""

    def __init__(self, trust: Latest[Trust], *, trust_domain: str, osm_namespace: str) -> None:
        self.trust_domain = trust_domain
        self.server_name = controller_name(osm_namespace)
        self._trust = trust

    @property
    def mark(self) -> str:
        """The mark of the newest trust."""
        return self._trust.value.mark

    def content(self, proxy: ProxyName) -> dict[str, Any]:
        """The part of a proxy's Secret that follows the trust, in the form of a change."""
        trust = self._trust.value
        certificate = trust.signer.issue(proxy.common_name(self.trust_domain), validity=_VALIDITY)
        secrets = Secrets(certificate.chain_pem, certificate.key_pem, trust.roots_pem)
        files = secret_files(secrets, server_name=self.server_name)
        return {"metadata": {"annotations": {TRUST_MARK: trust.mark}}, "data": secret_data(files)}


class BootstrapStore:
    """Makes and stores bootstraps of proxies that find the ADS at the controller's Service."""

    def __init__(self, client: KubernetesClient, credentials: Credentials) -> None:
        self._client = client
        self._credentials = credentials

    async def __call__(self, injection: Injection) -> None:
        """Store the bootstrap of this proxy. Raises KubernetesError."""
        body = self._credentials.content(injection.proxy)
        labels = {PROXY_UUID: injection.proxy.uuid, "app.kubernetes.io/managed-by": "osm-injector"}
        body["metadata"] |= {"name": injection.secret, "labels": labels}
        body["data"] |= secret_data({BOOTSTRAP_FILE: self._bootstrap(injection)})
        await self._client.create(SECRETS, body, namespace=injection.namespace)

    async def rehearse(self) -> None:
        """Raise ForbiddenError where no bootstrap could be stored: pods would be refused.

        An API server that does not answer lets no pod be created either: that is no reason to say no.
        """
        try:
            may = await allowed(self._client.bounded(_REHEARSED_WITHIN), "create", SECRETS)
        except KubernetesError as error:
            logger("admission").debug("whether bootstraps can be stored is not known", error=str(error))
            return
        if not may:
            raise ForbiddenError('bootstraps cannot be stored: allow its user to create secrets of API group ""')

    def _bootstrap(self, injection: Injection) -> bytes:
        name = self._credentials.server_name
        return bootstrap(
            injection.proxy,
            trust_domain=self._credentials.trust_domain,
            ads=AdsTarget(name, ADS_PORT, name),
            secrets=SecretFiles(BOOTSTRAP_FOLDER),
            probes=injection.probes,
        )
