"""The `offerwright` command: what is typed, what is shown, and the exit status.

0 done; 1 an unforeseen error; 2 input or configuration refused; 3 infeasible; 130 stopped with Ctrl-C, 143 by SIGTERM.
Commands import what is heavy only when they run, so that `--help` answers at once.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import NoReturn

import click

from engine.blas import ask_for_one_thread
from engine.errors import OfferwrightError, StorageError

COMMANDS: Mapping[str, str] = {
    "run": "api.commands.run:run",
    "serve": "api.commands.serve:serve",
    "data": "api.commands.data:data",
    "simulate": "api.commands.data:simulate",
    "rules": "api.commands.rules:rules",
    "frontier": "api.commands.frontier:frontier",
    "explore": "api.commands.explore:explore",
    "markdown": "api.commands.horizon:markdown",
    "promotions": "api.commands.horizon:promotions",
    "budget": "api.commands.budget:budget",
    "allocate": "api.commands.allocate:allocate",
    "experiment": "api.commands.experiment:experiment",
    "jobs": "api.commands.jobs:jobs",
    "db": "api.commands.store:db",
    "user": "api.commands.store:user",
}
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


class LazyGroup(click.Group):
    """Loads a command's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order in which they are met."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command; None where there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


_START = """\b
Start with:
  offerwright run      a proposal from the data that come with the product
  offerwright serve    read it in the browser"""


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=_START,
)
@click.version_option(package_name="offerwright", prog_name="offerwright")
def cli() -> None:
    """Decide every offer a shop makes, have people approve it, test it, and say what it really earned."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, _terminate)
    ask_for_one_thread()
    sys.exit(run_command(arguments))


def run_command(arguments: list[str]) -> int:
    """Run one command line and return its exit status; errors are shown on standard error."""
    debug = "--debug" in arguments
    try:
        status = cli.main(args=arguments, prog_name="offerwright", standalone_mode=False)
        sys.stdout.flush()
    except BaseException as error:
        return _explain(error, debug=debug)
    return status if isinstance(status, int) else 0


def _explain(error: BaseException, *, debug: bool) -> int:
    """Show anybody's error as one readable block, and choose the exit status."""
    if isinstance(error, SystemExit):
        raise error
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return _refusal("stopped; what was not finished was not stored", 130, debug=debug)
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    if isinstance(error, OfferwrightError):
        return _refusal(str(error), error.exit_status, debug=debug)
    if isinstance(error, OSError) and error.errno in _DISK:
        place = error.filename or "the disk"
        remedy = "free some space, then run again (nothing half was kept)"
        return _refusal(f"{place}: {error.strerror}; {remedy}", StorageError.exit_status, debug=debug)
    hint = "" if debug else "\nThis was not foreseen; run again with --debug for the whole story."
    return _refusal(f"{type(error).__name__}: {error}{hint}", 1, debug=debug)


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Leave in the ordinary way, so that temporary files and leases are given back."""
    raise SystemExit(143)


def _refusal(message: str, status: int, *, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    _say(message)
    return status


def _say(message: str) -> None:
    click.echo(click.style("offerwright: ", fg="red", bold=True) + message, err=True)
