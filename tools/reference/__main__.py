"""Write the reference pages: `python -m tools.reference`."""

import sys

from tools.reference import pages


def main() -> int:
    for path in pages.write():
        sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
