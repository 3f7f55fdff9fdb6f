"""Foundation: text from outside -> text that every encoder, and a terminal, takes."""


def legible(text: object) -> str:
    """The text, with escapes for what is no Unicode: a file's name may be any bytes, and a log line may not."""
    return str(text).encode(errors="backslashreplace").decode()


def one_line(text: str) -> str:
    """The text without line ends and other control characters: what others wrote must not steer a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
