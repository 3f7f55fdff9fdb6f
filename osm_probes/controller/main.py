"""osm-controller: the entry; signals and flags first, then the probes' port, then all that is heavy."""

import os
import sys

from osm_probes.foundation.signals import StopSignals

_NAME = "osm-controller"


def main() -> None:
    """Run until SIGTERM; the process ends with the status that `osm-controller --help` tells."""
    signals = StopSignals()
    signals.install()
    from msgspec import structs

    from osm_probes.configuration.controller import parse_controller
    from osm_probes.health.judge_state import CONTROLLER
    from osm_probes.mesh.ports import SMI_VERSION_PATH
    from osm_probes.mesh.smi import smi_body
    from osm_probes.runtime.process import Process, run_program
    from osm_probes.runtime.startup import parsed, telling_fatal

    pod = os.environ.get("CONTROLLER_POD_NAME", "")
    configuration = parsed(parse_controller, sys.argv[1:], os.environ, component=_NAME, pod=pod)

    async def serve(process: Process) -> None:
        # grpc's core writes lines of its own to stderr, which are no JSON; it reads this when it is imported.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from osm_probes.controller.app import serve_control

        await serve_control(configuration, process)

    judge_state = structs.replace(CONTROLLER, fixed_bodies={SMI_VERSION_PATH: smi_body()})
    fatal = telling_fatal(_NAME, configuration.shared)
    run_program(_NAME, shared=configuration.shared, judge_state=judge_state, signals=signals, serve=serve, fatal=fatal)
