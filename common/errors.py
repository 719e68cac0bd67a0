"""The one exception for everything a user can mend, and what other exceptions say, in a line."""


class InputError(ValueError):
    """What is wrong, where (file, playlist, field) and what to do, in one line.

    Scripts print it as one line on standard error and leave with exit code 2, without a traceback."""


def one_line(error: BaseException) -> str:
    """What an exception says, for the middle of another sentence; its type where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
