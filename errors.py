"""The one exception for everything a user can mend."""


class InputError(ValueError):
    """What is wrong, where (file, playlist, field) and what to do, in one line.

    Scripts print it as one line on standard error and leave with exit code 2, without a traceback."""
