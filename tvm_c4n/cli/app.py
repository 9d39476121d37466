"""The entry point `tvm-c4n`: listens for signals, then loads the verbs and runs one.

It imports next to nothing, so that Ctrl-C is heard before the first module that takes time to load.
"""

from __future__ import annotations

import sys

from tvm_c4n.cli import ending


def main() -> None:
    """Run the command line; errors become one line on stderr and an exit code.

    Exit codes: 0 done, 1 a failure of the program or of a device, 2 an error of the user's, 130
    interrupted, 143 terminated.
    """
    ending.listen()
    try:
        from tvm_c4n.cli import verbs

        verbs.app()
    except (Exception, KeyboardInterrupt) as error:
        if ending.tracebacks_shown() and not ending.interrupted():
            raise
        sys.exit(ending.code_after(error))


if __name__ == "__main__":
    main()
