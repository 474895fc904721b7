"""The exceptions of Offerwright.

    OfferwrightError
    ├── InputError              exit 2: what was handed in is refused
    │   ├── ConfigurationError  a setting, an option or a combination of them
    │   ├── DataError           a data set (carries every fault found)
    │   └── ProblemError        an optimisation problem that is not well posed (NaN, wrong shape, negative cost)
    ├── InfeasibleError         exit 3: no plan satisfies the rules
    ├── PlanError               a plan that failed its independent re-check; nobody may see it as good
    │   └── UnsolvedError       exit 2: the time or work that was allowed ended before any plan was found
    ├── StateError              exit 2: a change of state that the life of a proposal does not allow
    ├── ConflictError           exit 2: somebody else changed it first, or another runner holds it
    ├── NotFoundError           exit 2: no record with that identifier
    └── StorageError            exit 2: the disk or the database did not take what was written

Every message names the thing, its value and the remedy; the command line shows it as one block without a traceback.
"""

from __future__ import annotations

from engine.proposal import Sentence, english


class OfferwrightError(Exception):
    """Base of every error that Offerwright raises on purpose.

    Its text is English. What a page may show is given as a template with its values, and said there in the reader's
    language.
    """

    exit_status: int = 1

    def __init__(self, message: Sentence = "") -> None:
        super().__init__(english(message))
        self.sentence = message


class InputError(OfferwrightError):
    """What was handed in is refused; nothing was written."""

    exit_status = 2


class ConfigurationError(InputError):
    """A setting or option is unknown, out of range, or contradicts another."""


class DataError(InputError):
    """A data set cannot be used; the message lists every fault that was found."""


class ProblemError(InputError):
    """An optimisation problem is not well posed: a shape, a NaN, a negative cost."""


class InfeasibleError(OfferwrightError):
    """No plan satisfies the rules; the message names the rules in conflict and the cheapest remedy."""

    exit_status = 3


class PlanError(OfferwrightError):
    """A plan broke a rule, or its figures are not what they should be, when it was checked again independently."""


class UnsolvedError(PlanError):
    """The time or the work that was allowed ended before any plan was found; whether there is one is not known."""

    exit_status = 2


class StateError(OfferwrightError):
    """A proposal, experiment or job cannot make the asked-for change of state."""

    exit_status = 2


class ConflictError(OfferwrightError):
    """The record changed meanwhile, or another process holds the lock."""

    exit_status = 2


class NotFoundError(OfferwrightError):
    """No record has the given identifier."""

    exit_status = 2


class StorageError(OfferwrightError):
    """The disk or the database did not take what was written; the former state stands."""

    exit_status = 2


def shown(value: object) -> str:
    """Write a refused value as messages show it: texts in quotes, numbers plainly, whatever library holds them."""
    return repr(value) if type(value).__module__ == "builtins" else str(value)
