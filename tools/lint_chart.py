"""charts/osm -> the problems that Helm 4's linter reports, warnings included: `python -m tools.lint_chart`."""

import sys
from pathlib import Path

import helm_python

if __name__ == "__main__":
    report = helm_python.lint(Path(__file__).parents[1] / "charts" / "osm", strict=True)
    for message in report["messages"]:
        if message["severity"] > 1:
            print(f"{message['path']}: {message['error']}", file=sys.stderr)
    if report["errors"]:
        sys.exit(1)
    print("Helm reports no problems")
