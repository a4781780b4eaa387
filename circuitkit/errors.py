"""What can go wrong through no fault of ours.

A message says what is wrong, what was got, what was expected and what to do.
Honest negatives (a target missed, a claim that fails) are outcomes in the
result, never exceptions.

```
CircuitkitError            the command line turns each into one message, exit code 2
├── UsageError             arguments that cannot be combined, a folder in the way
├── CheckpointError        a folder that is not a whole, consistent checkpoint
├── TaskError              a task file or template that cannot be used
│   └── PairError          one pair of it that cannot be used; the others may be
├── ConfigError            a training configuration with a wrong key or value
├── CorpusError            text to train on that is missing, empty or unreadable
├── TrainingError          a run that had to stop: a NaN loss, a full disk
├── CircuitError           a circuit folder or file that is wrong or incomplete
├── MismatchError          files that do not belong together: hashes differ
└── ReportError            a diagram or page that could not be drawn
```
"""


class CircuitkitError(Exception):
    """Base of every error a user can cause.

    Examples:
        >>> import circuitkit as ck
        >>> try:
        ...     ck.load_task("for_whale")
        ... except ck.CircuitkitError as error:
        ...     print(type(error).__name__)
        TaskError
    """


class SavedInterrupt(KeyboardInterrupt):
    """An interrupt after which finished parts are saved: the same call can go on with them."""


class UsageError(CircuitkitError):
    """Arguments that cannot be combined, or an output folder in the way."""


class CheckpointError(CircuitkitError):
    """A folder that is not a whole, consistent checkpoint."""


class TaskError(CircuitkitError):
    """A task file, a template or a pair that cannot be used."""


class PairError(TaskError):
    """One pair of a task that cannot be used; ``reason`` is one of a few phrases, to count by."""

    def __init__(self, message: str, reason: str = "other") -> None:
        super().__init__(message)
        self.reason = reason


class ConfigError(CircuitkitError):
    """A training configuration with a wrong key or value."""


class CorpusError(CircuitkitError):
    """Text to train on that is missing, empty or unreadable."""


class TrainingError(CircuitkitError):
    """A training run that had to stop; its message names the last good save."""


class CircuitError(CircuitkitError):
    """A circuit folder or file that is wrong or incomplete."""


class MismatchError(CircuitkitError):
    """Files that do not belong together: one was made from another's other version."""


class ReportError(CircuitkitError):
    """A diagram or a page that could not be drawn."""
