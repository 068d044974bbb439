"""`python -m bot` is `understudy`: how `understudy up` starts its children."""

from bot.cli import main

if __name__ == "__main__":
    main(prog_name="understudy")
