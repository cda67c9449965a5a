"""The command line, `python -m rotelab`; `cli.main` is its entry point."""
