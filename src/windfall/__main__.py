"""``python -m windfall`` is the command ``windfall``."""

from windfall.cli.main import main

if __name__ == "__main__":
    main()
