"""Regular expressions that manifests may have; Envoy must accept all of them."""

VALID_REGEXES = [
    "^$",
    ".*",
    "/books/[0-9]+",
    "^(.*?;)?(type=insider)(;.*)?$",
    "(?P<n>a)(?i:b)",
    "[[:alpha:]]+",
    "[]a][^]a][+]+",
    "x{",
    r"\.\+\++",
    r"[\d-]\x7f",
    "(?i)a{2}b{3,}?c{0,900}",
    "[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}",
    "(?s).{998}",
    r"\W{998}",
    "(?i)[^k]{998}",
    "(?:(?:[^a]{9}){9}){9}",
]
