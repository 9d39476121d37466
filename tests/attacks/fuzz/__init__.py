"""A fuzz of everything that the product reads.

``python -m tests.attacks.fuzz --inputs 2000 --seed 0`` spoils good files at random, one input at a
time, and runs a verb of the command line on them, each in a process of its own. Whatever the input
is, the verb ends well, or with exit code 2 and one line; it leaves nothing half done behind.

``good.py`` makes what is spoiled, ``kinds.py`` says which verbs read it, ``mutations.py`` spoils a
file, ``forked.py`` runs a verb, and ``verdict.py`` judges what it left.
"""

import os

# Read when numpy is imported: its threads would be lost in a fork, their locks would not.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
