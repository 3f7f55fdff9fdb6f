"""osm-injector: signal handlers first, then flags, then the probes' port, then all heavy imports."""

import os
import sys

from osm_probes.foundation.signals import StopSignals

_NAME = "osm-injector"


def main() -> None:
    """Run until SIGTERM; the exit statuses are in `osm-injector --help`."""
    signals = StopSignals()
    signals.install()
    from osm_probes.configuration.injector import parse_injector
    from osm_probes.runtime.initial_judge_state import injector_judge_state
    from osm_probes.runtime.process import Process, run_program
    from osm_probes.runtime.startup import fatal_reporter, parse_or_report

    pod = os.environ.get("INJECTOR_POD_NAME", "")
    configuration = parse_or_report(parse_injector, sys.argv[1:], os.environ, component=_NAME, pod=pod)

    async def serve(process: Process) -> None:
        from osm_probes.injector.app import serve_injector

        await serve_injector(configuration, process)

    report_fatal = fatal_reporter(_NAME, configuration.shared)
    run_program(
        _NAME,
        shared=configuration.shared,
        judge_state=injector_judge_state(configuration),
        signals=signals,
        serve=serve,
        report_fatal=report_fatal,
    )
