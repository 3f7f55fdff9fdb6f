"""A proxy -> the Secret that its pod mounts: the Envoy bootstrap, and the certificate and roots for the ADS."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from osm_probes.admission.patch import SidecarInjection
from osm_probes.admission.sidecar import BOOTSTRAP_FILE, BOOTSTRAP_FOLDER
from osm_probes.cluster.bootstrap_permissions import BootstrapPermissions
from osm_probes.cluster.bootstrap_rehearsal import BootstrapRehearsal
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.text import legible
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import ForbiddenError, KubernetesError
from osm_probes.kube.kind import SECRETS
from osm_probes.kube.wire import encode_secret_data
from osm_probes.mesh.identity import ProxyName, UnknownIdentityError
from osm_probes.mesh.labels import BOOTSTRAP_MAC, CERTIFICATE_EXPIRES, MANAGED_BY, PROXY_UUID, TRUST_FINGERPRINT
from osm_probes.mesh.names import INJECTOR, controller_server_name
from osm_probes.mesh.ports import ADS_PORT
from osm_probes.mesh.proxy_uuid import UuidKey
from osm_probes.pki.trust import Trust
from osm_probes.xds.bootstrap import AdsTarget, build_bootstrap
from osm_probes.xds.sds_files import SdsFiles, encode_sds_files
from osm_probes.xds.secrets import Secrets

_SHOWN: Final = 100  # characters of a name that may be of any length
VALIDITY: Final = timedelta(days=7)
"""The default validity of a sidecar's certificate for the ADS. Half of it is how long all controllers may be away."""


class UnissuableNameError(OsmError):
    """A certificate with this name could be mistaken for another one's. It is not issued."""


class CredentialIssuer:
    """Issues the certificate and roots with which a proxy connects to the ADS, by the newest value of `trust`."""

    def __init__(
        self, trust: Latest[Trust], *, trust_domain: str, osm_namespace: str, validity: timedelta = VALIDITY
    ) -> None:
        self.trust_domain = trust_domain
        self.server_name = controller_server_name(osm_namespace)
        self.validity = validity
        self._trust = trust

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the newest trust."""
        return self._trust.value.fingerprint

    def secret_patch(self, proxy: ProxyName) -> dict[str, Any]:
        """The part of a proxy's Secret that depends on the trust, as a merge patch.

        Raises UnissuableNameError if the ADS would not read the same proxy from the certificate, and
        InvalidAuthorityError if the root has expired.
        """
        trust = self._trust.value
        certificate = trust.signer.issue(self._common_name(proxy), validity=self.validity)
        secrets = Secrets(certificate.chain_pem, certificate.key_pem, trust.roots_pem)
        files = encode_sds_files(secrets, server_name=self.server_name)
        expires = f"{certificate.not_after:%Y-%m-%dT%H:%M:%SZ}"
        annotations = {TRUST_FINGERPRINT: trust.fingerprint, CERTIFICATE_EXPIRES: expires}
        return {"metadata": {"annotations": annotations}, "data": encode_secret_data(files)}

    def _common_name(self, proxy: ProxyName) -> str:
        name = proxy.common_name(self.trust_domain)
        try:
            is_same = ProxyName.parse(name, trust_domain=self.trust_domain) == proxy
        except UnknownIdentityError:
            is_same = False
        if not is_same or proxy.identity.ambiguous:
            raise UnissuableNameError(
                f"no certificate is issued for service account {legible(str(proxy.identity))[:_SHOWN]}: "
                f"its name could be mistaken for another one"
            )
        return name


class BootstrapSecretStore:
    """Stores the bootstrap Secrets of proxies that connect to the ADS at the controller's Service.

    key: returns the key of the proxies' uuids; None while there is none. ipv6: whether the cluster's pods have IPv6
    addresses. rehearsal: learns in which namespace a bootstrap could not be stored.
    """

    def __init__(
        self,
        client: KubernetesClient,
        credentials: CredentialIssuer,
        *,
        permissions: BootstrapPermissions,
        rehearsal: BootstrapRehearsal,
        key: Callable[[], UuidKey | None],
        ipv6: bool,
    ) -> None:
        self._client = client
        self._permissions = permissions
        self._rehearsal = rehearsal
        self._credentials = credentials
        self._ipv6 = ipv6
        self._key = key

    async def store(self, injection: SidecarInjection) -> None:
        """Create the bootstrap Secret of this proxy. Raises UnissuableNameError, KubernetesError."""
        body = self._credentials.secret_patch(injection.proxy)
        if key := self._key():
            mac = key.secret_mac(injection.secret, identity=injection.proxy.identity)
            body["metadata"]["annotations"][BOOTSTRAP_MAC] = mac
        labels = {PROXY_UUID: injection.proxy.uuid, MANAGED_BY: INJECTOR}
        body["metadata"] |= {"name": injection.secret, "labels": labels}
        body["data"] |= encode_secret_data({BOOTSTRAP_FILE: self._bootstrap(injection)})
        try:
            await self._client.create(SECRETS, body, namespace=injection.namespace)
        except ForbiddenError as error:
            self._rehearsal.store_failed(injection.namespace)
            raise await self._permissions.explain(error, injection.namespace) from error
        except (KubernetesError, asyncio.CancelledError):  # cancelled: the review's time is over
            self._rehearsal.store_failed(injection.namespace)
            raise
        self._rehearsal.store_succeeded()

    async def check_permission(self) -> None:
        """Raise ForbiddenError if bootstrap Secrets can be created in no namespace of the mesh."""
        await self._permissions.check()

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
