"""`python -m speechrep` is the command `speechrep`."""

import sys

from speechrep.bin import main

sys.exit(main())
