"""The command line: `omokage demo | fit | encode | reconstruct | score | evaluate | sample | synthesize | ...`.

Each command is a module of `omokage.commands`. Here stands what all share: how errors end, with which exit status.
"""

import errno
import io
import os
import shutil
import sys
import warnings

from cyclopts import App, CycloptsError

from omokage import __version__
from omokage.commands.demo import demo
from omokage.commands.encode import encode
from omokage.commands.evaluate import evaluate
from omokage.commands.fit import fit
from omokage.commands.impute import impute
from omokage.commands.info import info
from omokage.commands.reconstruct import reconstruct
from omokage.commands.reproduce import reproduce
from omokage.commands.sample import sample
from omokage.commands.score import score
from omokage.commands.synthesize import synthesize
from omokage.errors import OmokageError, one_line

FAILED, INTERRUPTED = 1, 130  # exit statuses
_NARROWEST = 20  # columns of a terminal
_BROKEN_PIPE = 141  # what a shell says of a program that ended by the signal SIGPIPE

app = App(
    name="omokage",
    version=__version__,
    help="Autoencoders and variational autoencoders for your own data.",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)
for _command in (demo, fit, encode, reconstruct, score, evaluate, impute, sample, synthesize, info, reproduce):
    app.command(_command)


def main() -> None:
    """Run the command line; what a user can do wrong ends in one line on standard error and exit status 1."""
    warnings.formatwarning = lambda message, *_, **__: f"omokage: warning: {message}\n"
    _replace_what_cannot_be_shown()
    _widen()
    try:
        try:
            app(exit_on_error=False, print_error=False)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except (OmokageError, CycloptsError) as error:
        print(f"omokage: {error}", file=sys.stderr)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        print("omokage: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader has seen enough, as `head` has
        _discard_output()
        sys.exit(_BROKEN_PIPE)
    except SystemExit as ended:  # rich, which writes the help, makes a failure of a closed pipe
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
        _discard_output()
        sys.exit(_BROKEN_PIPE)
    except OSError as error:  # of files that no command expects to be so; a full device fails when output is flushed
        full = error.errno == errno.ENOSPC
        if full:
            _discard_output()
        reason = "no space is left on the device" if full else error.strerror or type(error).__name__
        print(f"omokage: {one_line(str(error.filename or 'standard output'))}: {reason}.", file=sys.stderr)
        sys.exit(FAILED)


def _discard_output() -> None:
    """Leave nothing in the buffer that would raise again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _widen() -> None:
    """Take no terminal to be narrower than help can be laid out in: rich fails, or never ends, in 0 to 3 columns."""
    said = os.environ.get("COLUMNS", "")
    if (int(said) if said.isdecimal() else shutil.get_terminal_size().columns) < _NARROWEST:
        os.environ["COLUMNS"] = str(_NARROWEST)


def _replace_what_cannot_be_shown() -> None:
    """Make output survive any encoding of the terminal: letters that are not in it are written as Python does, \\u6e29.

    So different names stay different, also in the answers of `score -`, which another program may read.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")
