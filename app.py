"""Starts the page: `python app.py` is `python -m rotelab serve`, options included."""

import sys

from rotelab.cli.main import main

if __name__ == "__main__":
    sys.argv.insert(1, "serve")
    main()
