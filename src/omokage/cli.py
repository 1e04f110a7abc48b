"""The command line: `omokage demo | fit | encode | reconstruct | score | evaluate | sample | impute | info | ...`.

Each command is a module of `omokage.commands`. Here stands what all share: how errors end, with which exit status.
"""

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
from omokage.errors import OmokageError

FAILED, INTERRUPTED = 1, 130  # exit statuses

app = App(
    name="omokage",
    version=__version__,
    help="Autoencoders and variational autoencoders for your own data.",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)
for _command in (demo, fit, encode, reconstruct, score, evaluate, impute, sample, info, reproduce):
    app.command(_command)


def main() -> None:
    """Run the command line; what a user can do wrong ends in one line on standard error and exit status 1."""
    warnings.formatwarning = lambda message, *_, **__: f"omokage: warning: {message}\n"
    try:
        app(exit_on_error=False, print_error=False)
    except (OmokageError, CycloptsError) as error:
        print(f"omokage: {error}", file=sys.stderr)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        print("omokage: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
