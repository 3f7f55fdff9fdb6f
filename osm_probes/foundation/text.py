"""Foundation: text from outside -> text that every encoder takes."""


def legible(text: object) -> str:
    """The text, with escapes for what is no Unicode: a file's name may be any bytes, and a log line may not."""
    return str(text).encode(errors="backslashreplace").decode()
