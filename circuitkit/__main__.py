"""``python -m circuitkit``: the command line where its script is not on the path."""

from circuitkit.cli import main

if __name__ == "__main__":
    main()
