"""A proxy -> the Secret that its pod mounts: the Envoy bootstrap, and the certificate and roots for the ADS."""

from datetime import timedelta
from typing import Any, Final

from osm_probes.admission.patch import SidecarInjection
from osm_probes.admission.sidecar import BOOTSTRAP_FILE, BOOTSTRAP_FOLDER
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.logs import logger
from osm_probes.kube.access_review import allowed
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import ForbiddenError, KubernetesError
from osm_probes.kube.kind import SECRETS
from osm_probes.kube.wire import encode_secret_data
from osm_probes.mesh.identity import ProxyName
from osm_probes.mesh.labels import MANAGED_BY, PROXY_UUID, TRUST_FINGERPRINT
from osm_probes.mesh.names import INJECTOR, controller_server_name
from osm_probes.mesh.ports import ADS_PORT
from osm_probes.pki.trust import Trust
from osm_probes.xds.bootstrap import AdsTarget, build_bootstrap
from osm_probes.xds.sds_files import SdsFiles, encode_sds_files
from osm_probes.xds.secrets import Secrets

# The canary's review has three seconds in total.
_PERMISSION_CHECK_WITHIN: Final = 1.0
# The certificate is renewed only with the CA. It cannot outlive its pod: the ADS accepts only proxies whose pod exists.
_VALIDITY: Final = timedelta(days=3650)


class CredentialIssuer:
    """Issues the certificate and roots with which a proxy connects to the ADS, by the newest value of `trust`."""

    def __init__(self, trust: Latest[Trust], *, trust_domain: str, osm_namespace: str) -> None:
        self.trust_domain = trust_domain
        self.server_name = controller_server_name(osm_namespace)
        self._trust = trust

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the newest trust."""
        return self._trust.value.fingerprint

    def secret_patch(self, proxy: ProxyName) -> dict[str, Any]:
        """The part of a proxy's Secret that depends on the trust, as a merge patch."""
        trust = self._trust.value
        certificate = trust.signer.issue(proxy.common_name(self.trust_domain), validity=_VALIDITY)
        secrets = Secrets(certificate.chain_pem, certificate.key_pem, trust.roots_pem)
        files = encode_sds_files(secrets, server_name=self.server_name)
        return {"metadata": {"annotations": {TRUST_FINGERPRINT: trust.fingerprint}}, "data": encode_secret_data(files)}


class BootstrapSecretStore:
    """Stores the bootstrap Secrets of proxies that connect to the ADS at the controller's Service.

    ipv6: whether the cluster's pods have IPv6 addresses.
    """

    def __init__(self, client: KubernetesClient, credentials: CredentialIssuer, *, ipv6: bool) -> None:
        self._client = client
        self._credentials = credentials
        self._ipv6 = ipv6

    async def store(self, injection: SidecarInjection) -> None:
        """Create the bootstrap Secret of this proxy. Raises KubernetesError."""
        body = self._credentials.secret_patch(injection.proxy)
        labels = {PROXY_UUID: injection.proxy.uuid, MANAGED_BY: INJECTOR}
        body["metadata"] |= {"name": injection.secret, "labels": labels}
        body["data"] |= encode_secret_data({BOOTSTRAP_FILE: self._bootstrap(injection)})
        await self._client.create(SECRETS, body, namespace=injection.namespace)

    async def check_permission(self) -> None:
        """Raise ForbiddenError if bootstrap Secrets cannot be created, because pods would be rejected then.

        An API server that does not respond is no error: without it no pod can be created either.
        """
        try:
            may_create = await allowed(self._client.with_timeout(_PERMISSION_CHECK_WITHIN), "create", SECRETS)
        except KubernetesError as error:
            logger("admission").debug("the permission to create bootstrap Secrets is unknown", error=str(error))
            return
        if not may_create:
            raise ForbiddenError('bootstraps cannot be stored: allow its user to create secrets of API group ""')

    def _bootstrap(self, injection: SidecarInjection) -> bytes:
        name = self._credentials.server_name
        return build_bootstrap(
            injection.proxy,
            trust_domain=self._credentials.trust_domain,
            ads=AdsTarget(name, ADS_PORT, name),
            secrets=SdsFiles(BOOTSTRAP_FOLDER),
            app_probes=injection.app_probes,
            ipv6=self._ipv6,
        )
