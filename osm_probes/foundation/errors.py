"""The root of the project's own errors."""


class OsmError(Exception):
    """Something that this project understands went wrong; the text names what, where and what to do."""
