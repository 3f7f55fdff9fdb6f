"""Value -> YAML that readers of YAML 1.1 and of YAML 1.2 read alike."""

import re

import yaml


class Dumper(yaml.SafeDumper):
    """Quotes also the texts that are numbers in YAML 1.2, such as the commit `1234e56`, and those that are booleans."""


Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|0o[0-7]+$"),
    list("-+.0123456789"),
)
Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"[yYnN]$"), list("yYnN"))
