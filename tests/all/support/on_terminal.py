"""Runs a command on a terminal of its own and types one line: on_terminal.py [OPTIONS] ANSWER COMMAND...

What the command shows is copied to standard output; its exit code is this script's, 128 and the signal when one killed it.
The line is typed at once: a terminal keeps it until the command reads, and a command that asks nothing leaves it unread.

  --stdin FILE, --stdout FILE, --stderr FILE   a stream that does not lead to the terminal
  --columns N                                  how wide the terminal is; 0 is what one says that does not know
  --background                                 not the terminal's foreground process group, as a job that was started with &
  --signal NAME TEXT                           nothing is typed; when TEXT is shown, the command gets the signal
"""

import fcntl
import os
import pty
import signal
import struct
import sys
import termios

arguments = sys.argv[1:]
streams, background, killed, columns = {}, False, None, 120
while arguments[0].startswith("--"):
    option = arguments.pop(0)
    if option == "--background":
        background = True
    elif option == "--columns":
        columns = int(arguments.pop(0))
    elif option == "--signal":
        killed = (getattr(signal, "SIG" + arguments.pop(0)), arguments.pop(0).encode())
    else:
        streams[["--stdin", "--stdout", "--stderr"].index(option)] = arguments.pop(0)
answer, command = arguments[0], arguments[1:]


def code(status):
    """As a shell has it."""
    result = os.waitstatus_to_exitcode(status)
    return result if result >= 0 else 128 - result


child, terminal = pty.fork()
if child == 0:
    # The parent says when the terminal is ready.
    os.read(0, 64)
    if background:
        job = os.fork()
        if job != 0:
            sys.exit(code(os.waitpid(job, 0)[1]))
        os.setpgid(0, 0)
    # Streams may all lead elsewhere: the terminal is not closed for that, as a person's is not.
    os.set_inheritable(os.dup(0), True)
    for stream, path in streams.items():
        flags = os.O_RDONLY if stream == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(path, flags, 0o600), stream)
    os.execvp(command[0], command)

fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
settings = termios.tcgetattr(terminal)
settings[3] &= ~termios.ECHO  # What is typed is not what the command said.
termios.tcsetattr(terminal, termios.TCSANOW, settings)
os.write(terminal, b"ready\n")
if killed is None:
    os.write(terminal, answer.encode() + b"\n")

seen = b""
while True:
    try:
        shown = os.read(terminal, 65536)
    except OSError:  # How Linux says that the other side has closed.
        break
    if not shown:
        break
    sys.stdout.buffer.write(shown)
    sys.stdout.buffer.flush()
    seen += shown
    if killed is not None and killed[1] in seen:
        os.kill(child, killed[0])
        killed = None

sys.exit(code(os.waitpid(child, 0)[1]))
