"""The command line, `python -m rotelab`; `cli.main` puts it together."""
