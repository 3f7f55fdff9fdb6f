"""Bootstrap Secret + pods -> the identity that its certificate gets, or why it gets none. Pure.

Whoever may create pods and Secrets in a namespace can write all of their labels and annotations. So a certificate is
issued only if the control plane can prove from its own key that the injector gave this uuid to this service account,
and made this Secret. Pods that an earlier version injected have no such proof; for them a weaker rule holds.
"""

import uuid
from collections.abc import Sequence
from typing import Final

from osm_probes.cluster.bootstrap_metadata import BootstrapSecret
from osm_probes.foundation.errors import OsmError
from osm_probes.mesh.identity import Identity
from osm_probes.mesh.proxy_uuid import UuidKey, is_bound
from osm_probes.sources.objects import Pod

_RANDOM: Final = 4


class NoCertificateError(OsmError):
    """No certificate is issued into this Secret. The text says why."""


def certificate_identity(secret: BootstrapSecret, pods: Sequence[Pod], *, key: UuidKey | None) -> Identity:
    """The identity for the certificate in a Secret of a namespace of the mesh. Raises NoCertificateError.

    pods: those of its namespace that have a proxy with its uuid. key: None if there is none; then only uuids of an
    earlier version count.
    """
    if is_bound(secret.proxy):
        return _proven_identity(secret, pods, key)
    if uuid.UUID(secret.proxy).version != _RANDOM:
        raise NoCertificateError(f"no injector gives the uuid {secret.proxy}")
    return _only_identity(secret, pods)


def _proven_identity(secret: BootstrapSecret, pods: Sequence[Pod], key: UuidKey | None) -> Identity:
    if key is None:
        raise NoCertificateError("the key of the proxies' uuids is missing")
    identities = {identity_of(pod) for pod in pods}
    made = [identity for identity in identities if key.made(secret.proxy, identity=identity)]
    if not made:
        raise NoCertificateError(f"the uuid {secret.proxy} was not made for the service account of its pod")
    if not key.made_secret(secret.mac, name=secret.name, identity=made[0]):
        raise NoCertificateError("the injector did not make this Secret")
    return made[0]


def _only_identity(secret: BootstrapSecret, pods: Sequence[Pod]) -> Identity:
    """The weaker rule: exactly one pod has this uuid."""
    if len(pods) != 1:
        raise NoCertificateError(f"{len(pods)} pods have the uuid {secret.proxy}, which is not bound to one of them")
    return identity_of(pods[0])


def identity_of(pod: Pod) -> Identity:
    """A pod's identity."""
    return Identity(pod.metadata.namespace, pod.spec.service_account_name)
