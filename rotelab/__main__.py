"""`python -m rotelab`: the lab without a browser, and the page itself (`serve`)."""

from rotelab.cli.main import main

if __name__ == "__main__":
    main()
