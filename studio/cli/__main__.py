"""`python -m studio.cli`."""

from studio.cli import main

if __name__ == "__main__":
    main()
