"""osm-controller: signal handlers first, then flags, then the probes' port, then all heavy imports."""

import os
import sys

from osm_probes.foundation.signals import StopSignals

_NAME = "osm-controller"


def main() -> None:
    """Run until SIGTERM; the exit statuses are in `osm-controller --help`."""
    signals = StopSignals()
    signals.install()
    from msgspec import structs

    from osm_probes.configuration.controller import parse_controller
    from osm_probes.mesh.ports import SMI_VERSION_PATH
    from osm_probes.mesh.smi import smi_version_body
    from osm_probes.runtime.initial_judge_state import CONTROLLER
    from osm_probes.runtime.process import Process, run_program
    from osm_probes.runtime.startup import fatal_reporter, parse_or_report

    pod = os.environ.get("CONTROLLER_POD_NAME", "")
    configuration = parse_or_report(parse_controller, sys.argv[1:], os.environ, component=_NAME, pod=pod)

    async def serve(process: Process) -> None:
        # grpc's C core writes lines to stderr that are not JSON; it reads this variable when it is imported.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from osm_probes.controller.app import serve_controller

        await serve_controller(configuration, process)

    judge_state = structs.replace(CONTROLLER, fixed_bodies={SMI_VERSION_PATH: smi_version_body()})
    report_fatal = fatal_reporter(_NAME, configuration.shared)
    run_program(
        _NAME,
        shared=configuration.shared,
        judge_state=judge_state,
        signals=signals,
        serve=serve,
        report_fatal=report_fatal,
    )
