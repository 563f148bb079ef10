"""``python -m latentrun``."""

from latentrun.cli import main

if __name__ == "__main__":
    main()
