"""All that a program tells its judge: checks, paths, limits, facts, and how to connect as its clients do."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct, field

from osm_probes.foundation.problem import Problem


class CanaryStep(Struct, frozen=True):
    """Requests that the canary sends on its stream, and bytes that one response must contain before the next step.

    requests: serialised DiscoveryRequests.
    """

    requests: tuple[bytes, ...]
    expected: bytes


class AdsCanary(Struct, frozen=True, kw_only=True):
    """How to connect to the ADS as a proxy does, what to send, and what to expect. address: an IP address."""

    address: str
    port: int
    server_name: str
    root_pem: bytes
    chain_pem: bytes
    key_pem: bytes
    steps: tuple[CanaryStep, ...]

    def __repr__(self) -> str:
        return f"AdsCanary({self.address}:{self.port})"  # never the key


class ExpectedSidecar(Struct, frozen=True, kw_only=True):
    """The names that a pod with a sidecar has. secret_prefix: of its bootstrap's Secret; its uuid follows."""

    container: str
    init_container: str
    secret_prefix: str


class WebhookCanary(Struct, frozen=True, kw_only=True):
    """How to connect to the webhook as the API server does, and the review to post.

    address: an IP address. bundle_pem: the certificates that the API server trusts; server_name: the name that it
    verifies. body: an AdmissionReview whose pod the webhook must patch; expected: what the patched pod has. no_bundle:
    why there is no bundle; "" if there is one. token: sent with the review in place of a client certificate; "" if the
    webhook demands none.
    """

    address: str
    port: int
    server_name: str
    bundle_pem: bytes
    path: str
    body: bytes
    expected: ExpectedSidecar
    no_bundle: str = ""
    token: str = ""

    def __repr__(self) -> str:
        return f"WebhookCanary({self.address}:{self.port})"  # never the token


class JudgeState(Struct, frozen=True, kw_only=True, tag=True):
    """All that the judge of one program knows beside the heartbeat. It is sent whole whenever something changes.

    alive: the name of liveness's check ("ads" or "webhook").
    ready: the names of readiness's checks, in the order in which answers list them.
    ready_bodies: the paths of readiness, and the body of each when the program is ready.
    fixed_bodies: paths whose body is known beforehand, such as /version.
    debug_pages: paths of the debug port whose JSON only the program can write, with the name of the page.
    problems: the answers of the checks that the program decides, by name; a false one means healthy, a missing one not.
    expiries: when each certificate in use expires, by kind (root, ads, canary, webhook), as aware times.
    warnings: what a person should know although it decides nothing, such as one proxy that cannot be configured.
    heartbeat_limit, canary_limit: in seconds. log_level: a name of foundation.logs.LEVELS.
    """

    alive: str
    ready: tuple[str, ...]
    ready_bodies: Mapping[str, str]
    fixed_bodies: Mapping[str, str] = field(default_factory=dict)
    debug_pages: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, Problem] = field(default_factory=dict)
    expiries: Mapping[str, datetime] = field(default_factory=dict)
    warnings: tuple[Problem, ...] = ()
    ads: AdsCanary | None = None
    webhook: WebhookCanary | None = None
    heartbeat_limit: float = 15.0
    canary_limit: float = 3.0
    log_level: str = "info"
