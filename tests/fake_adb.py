"""A stand-in for adb and the device behind it: a folder, this machine's shell, and qemu.

    FAKE_ADB_ROOT=FOLDER fake_adb.py [-s SERIAL] shell COMMAND | push --sync FILE... FOLDER

What it cannot show: a device's own loader, its C library, its speed, and whether Android lets a
shell user do all this. It does run the pushed aarch64 programs.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(os.environ["FAKE_ADB_ROOT"])
STARTED = ("ld-linux-aarch64.so.1", "bench")


def here(text):
    """Paths of the device as paths of this machine."""
    return text.replace("/data/local/tmp", f"{ROOT}/data").replace("/sys/", f"{ROOT}/sys/")


def push(arguments):
    *files, folder = [word for word in arguments if word != "--sync"]
    for file in map(Path, files):
        target = Path(here(folder), file.name)
        if file.name in STARTED:  # the part of the kernel that starts programs of its machine
            emulator = f"qemu-aarch64 -cpu cortex-a76 -L /nonexistent {target}.real"
            target.write_text(f'#!/bin/sh\nexec {emulator} "$@"\n')
            target = target.with_name(file.name + ".real")
        shutil.copyfile(file, target)
        if target.name.endswith(".real"):
            target.chmod(0o755)
    return 0


def main():
    arguments = sys.argv[1:]
    serial = ""
    if arguments[0] == "-s":
        serial, arguments = arguments[1], arguments[2:]
    if serial not in ("", "phone1"):
        print(f"adb: device '{serial}' not found", file=sys.stderr)
        return 1
    if arguments[0] == "push":
        return push(arguments[1:])
    if arguments[1:] == ["uname -m"]:
        print("aarch64")
        return 0
    return subprocess.run(["sh", "-c", here(arguments[1])], check=False).returncode


sys.exit(main())
