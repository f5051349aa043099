"""`python -m lpd_core`: the command line."""

from lpd_core.cli import main

if __name__ == "__main__":
    main()
