"""The command ``windfall``: a file for each subcommand, imported when it is called."""
