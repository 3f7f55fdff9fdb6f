"""Installed packages -> a software bill of materials (SBOM) in CycloneDX format: `python images/sbom.py NAME >FILE`.

The Dockerfile runs it during the build, so it uses only Python's standard library.
"""

import json
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

DPKG = Path("/var/lib/dpkg/status")
Json = dict[str, Any]


def sbom(name: str) -> Json:
    """The SBOM of the image `name`: this interpreter's Python packages and the system's Debian packages."""
    components = sorted([*_python_packages(), *_debian_packages()], key=lambda component: component["purl"])
    own = [component for component in components if component["name"] == name]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": name, "version": own[0]["version"] if own else ""}},
        "components": components,
    }


def _python_packages() -> Iterator[Json]:
    for package in distributions():
        name, version = package.metadata["Name"].lower().replace("_", "-"), package.version
        component: Json = {"type": "library", "name": name, "version": version, "purl": f"pkg:pypi/{name}@{version}"}
        if "License-Expression" in package.metadata:
            component["licenses"] = [{"expression": package.metadata["License-Expression"]}]
        yield component


def _debian_packages() -> Iterator[Json]:
    if not DPKG.exists():
        return
    for paragraph in DPKG.read_text().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status") == "install ok installed":
            name, version = fields["Package"], fields["Version"]
            purl = f"pkg:deb/debian/{name}@{version}?arch={fields['Architecture']}"
            yield {"type": "library", "name": name, "version": version, "purl": purl}


if __name__ == "__main__":
    json.dump(sbom(sys.argv[1]), sys.stdout, indent=1)
