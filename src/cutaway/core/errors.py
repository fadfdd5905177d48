"""The one error that people are shown."""


class CutawayError(Exception):
    """A mistake the user can mend: one line that says what was given, what is allowed and what to do."""
