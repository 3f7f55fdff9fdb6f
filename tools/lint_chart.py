"""charts/osm -> what Helm 4 finds wrong with it; its warnings count: `python -m tools.lint_chart`."""

import sys
from pathlib import Path

import helm_python

if __name__ == "__main__":
    report = helm_python.lint(Path(__file__).parents[1] / "charts" / "osm", strict=True)
    for each in report["messages"]:
        if each["severity"] > 1:
            print(f"{each['path']}: {each['error']}", file=sys.stderr)
    if report["errors"]:
        sys.exit(1)
    print("Helm has nothing to say")
