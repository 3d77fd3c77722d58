"""Lets ``python -m microtensor`` stand in for the command where it is not on the PATH."""

from microtensor.cli import main

if __name__ == "__main__":
    main(prog_name="microtensor")
