#!/usr/bin/env python3
"""Types into an interactive shell, through a pseudo-terminal, and prints what it was completed to.

completion.py SHELL SETUP SECONDS LINE...   SETUP: a command for the shell. In a LINE, \\t stands for the tab key.
A line has to begin with `said`, which prints its arguments between < and >; each answer is printed on a line."""
import os
import pty
import select
import subprocess
import sys
import time

shell, setup, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
options = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"]}[shell]
end = time.monotonic() + seconds
ours, theirs = pty.openpty()
program = subprocess.Popen([shell, *options], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
                           env={**os.environ, "TERM": "dumb"})
os.close(theirs)
seen = ""


def wait_for(text, start):
    """Reads until `text` is there, and returns what stands between `start` and it."""
    global seen
    while start not in seen or text not in seen[seen.index(start):]:
        left = end - time.monotonic()
        if left <= 0 or not select.select([ours], [], [], left)[0]:
            program.kill()
            sys.exit(f"no {text!r} came; the screen: {seen!r}")
        seen += os.read(ours, 65536).decode(errors="replace")
    behind = seen[seen.index(start) + len(start):]
    at = behind.index(text)
    seen = behind[at + len(text):]
    return behind[:at]


os.write(ours, (setup + "; said() { printf '%s%s>\\n' '<' \"$*\"; }; said re'a'dy\n").encode())
wait_for(">", "<ready")
for line in sys.argv[4:]:
    os.write(ours, (line.replace("\\t", "\t") + "\n").encode())
    print(wait_for(">", "<"), flush=True)
program.kill()
