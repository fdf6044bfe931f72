"""`python -m imhead` is the command line."""

from imhead.cli import main

if __name__ == "__main__":
    main()
