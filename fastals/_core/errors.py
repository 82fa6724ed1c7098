"""The errors that fastals raises.

FastalsError
├── ParameterError (ValueError)     an argument breaks its rule
├── ArgumentTypeError (TypeError)   an argument is of a kind that is not accepted
├── DataError (ValueError)          the interactions themselves: NaN, shape, index out of range
├── UnknownLabelError (LookupError, ValueError) a user or item that the model does not know
├── NotFittedError (ValueError, AttributeError)
├── NumericalError (ArithmeticError) no solver could give finite factors
├── FileFormatError (OSError, ValueError) a file that cannot be read as what it should be
├── ServingError (OSError)          lists cannot be published to a server or read from it
├── GateError                       a measure is worse than what was demanded of it (command line: exit code 3)
└── MissingDependencyError (ImportError) an optional package is not installed
"""


class FastalsError(Exception):
    """Base of every error that fastals raises on purpose."""


class ParameterError(FastalsError, ValueError):
    """An argument breaks its rule; the message names argument, rule and value."""


class ArgumentTypeError(FastalsError, TypeError):
    """An argument is of a kind that is not accepted; the message says what is."""


class DataError(FastalsError, ValueError):
    """The interactions cannot be used; the message names the first row or cell at fault."""


class UnknownLabelError(FastalsError, LookupError, ValueError):
    """A user or an item that the model does not know."""


class NotFittedError(FastalsError, ValueError, AttributeError):
    """The model is not fitted yet: call ``fit`` first."""


class NumericalError(FastalsError, ArithmeticError):
    """No solver could give finite factors."""


class FileFormatError(FastalsError, OSError, ValueError):
    """A file cannot be read as what it should be, or is missing."""


class ServingError(FastalsError, OSError):
    """Lists cannot be published to a server, or read from it; what was served before still is."""


class GateError(FastalsError):
    """A measure is worse than what was demanded of it; the message names both."""


class MissingDependencyError(FastalsError, ImportError):
    """An optional package is not installed; the message is the pip line that installs it."""
