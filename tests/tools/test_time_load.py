"""Load time and peak memory: medians of the rounds."""

import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).parents[2] / "tools"


def test_the_table_has_medians(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    from time_load import table

    def line(load_secs, loaded):
        found = {"weight_bytes": 10e6, "load_secs": load_secs, "first_token_secs": 0.25}
        found |= {"loaded_bytes": loaded, "stepped_bytes": 12e6, "prefilled_bytes": 20e6}
        return {"type": "load", "size": "130m", "row": "C4n int4 n=2", "n_prompt": 512, **found}

    lines = [{"type": "run"}, line(0.1, 3e6), line(0.2, 1e6), line(0.9, 2e6)]
    row = table(lines).splitlines()[-1]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    what = "130m C4n int4 n=2, prompt of 512"
    assert cells == [what, "3", "10.0", "0.200", "0.250", "2", "12", "20"]


# In a process of its own: another test's peak may be higher.
PEAKS = """
from time_load import peak_bytes

peaks = [peak_bytes()]
block = bytearray(256 << 20)
block[::4096] = b"x" * len(block[::4096])
peaks.append(peak_bytes())
del block
print(*peaks, peak_bytes())
"""


def test_the_peak_never_falls():
    command = [sys.executable, "-c", PEAKS]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=200, cwd=TOOLS
    )
    before, grown, after = map(int, done.stdout.split())
    # The system counts pages in batches, and may be a few MB off.
    assert grown - before > 200 << 20
    assert after > grown - (16 << 20)
