"""Health: what a program tells its judge: names, limits, facts, and how to dial the program as its clients do."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct, field


class AdsCanary(Struct, frozen=True, kw_only=True):
    """The controller's own first proxy: dial the ADS and expect one resource.

    `address` is a literal; `request` a serialised DiscoveryRequest; a response that contains `expected` is the yes.
    """

    address: str
    port: int
    server_name: str
    root_pem: bytes
    chain_pem: bytes
    key_pem: bytes
    request: bytes
    expected: bytes

    def __repr__(self) -> str:
        return f"AdsCanary({self.address}:{self.port})"  # never the key


class WebhookCanary(Struct, frozen=True, kw_only=True):
    """The injector's own first pod: post `body`, a whole AdmissionReview, to `path` and expect a patch.

    `address` is a literal; `bundle_pem` is what the API server trusts, `server_name` the name that it asks for.
    no_bundle: why the API server trusts nothing, and so asks nobody; "" where it does.
    """

    address: str
    port: int
    server_name: str
    bundle_pem: bytes
    path: str
    body: bytes
    no_bundle: str = ""


class JudgeState(Struct, frozen=True, kw_only=True, tag=True):
    """All that the judge of one program knows beside its pulse. A change is a new one, told whole.

    alive: the check that liveness asks ("ads" or "webhook").
    ready: the checks that readiness asks, in the order in which they are named.
    ready_bodies: the paths of readiness, and what each says when all is well.
    fixed_bodies: paths whose answer is known beforehand, such as /version.
    asked_paths: paths whose JSON only the program can write, with the topic that it is asked about.
    told: reasons of the checks that the program judges itself, by name: "" = yes. A check not told yet is a no.
    expiries: when each certificate in use ends, by kind (root, ads, canary, webhook; aware times): judged against the
    clock when asked.
    warnings: what a person should know and no verdict rests on, such as one proxy that cannot be configured.
    log_level: what the judge writes from, a name of LEVELS. Limits are in seconds.
    """

    alive: str
    ready: tuple[str, ...]
    ready_bodies: Mapping[str, str]
    fixed_bodies: Mapping[str, str] = field(default_factory=dict)
    asked_paths: Mapping[str, str] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)
    expiries: Mapping[str, datetime] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    ads: AdsCanary | None = None
    webhook: WebhookCanary | None = None
    heartbeat_limit: float = 15.0
    canary_limit: float = 3.0
    log_level: str = "info"


CONTROLLER = JudgeState(
    alive="ads",
    ready=("ads", "mesh", "certificates", "capacity", "draining"),
    ready_bodies={"/health/ready": "Service is ready"},
    asked_paths={"/debug/proxies": "proxies"},
)
"""Where a controller's briefing starts from: the contract's names."""

INJECTOR = JudgeState(
    alive="webhook",
    ready=("certificate", "bundle", "review"),
    ready_bodies={"/health/ready": "Service is ready", "/healthz": "Health OK"},
)
"""Where an injector's briefing starts from: the contract's names."""
