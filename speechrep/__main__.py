"""`python -m speechrep` is the command `speechrep`."""

import sys

from speechrep.bin import main

if __name__ == "__main__":
    sys.exit(main())
