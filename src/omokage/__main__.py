"""`python -m omokage`: the command line where no script is installed."""

from omokage.cli import main

if __name__ == "__main__":
    main()
