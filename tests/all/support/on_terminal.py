"""Runs a command on a terminal of its own and types one line: on_terminal.py ANSWER COMMAND...

What the command shows is copied to standard output; its exit code is this script's.
The line is typed at once: a terminal keeps it until the command reads, and a command that asks nothing leaves it unread.
"""

import fcntl
import os
import pty
import struct
import sys
import termios

answer, command = sys.argv[1], sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    # The parent says when the terminal is ready.
    os.read(0, 64)
    os.execvp(command[0], command)

fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
settings = termios.tcgetattr(terminal)
settings[3] &= ~termios.ECHO  # What is typed is not what the command said.
termios.tcsetattr(terminal, termios.TCSANOW, settings)
os.write(terminal, b"ready\n")
os.write(terminal, answer.encode() + b"\n")

while True:
    try:
        shown = os.read(terminal, 65536)
    except OSError:  # How Linux says that the other side has closed.
        break
    if not shown:
        break
    sys.stdout.buffer.write(shown)
    sys.stdout.buffer.flush()

_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
