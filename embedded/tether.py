"""`python tether.py PARENT SIGNAL UID:GID PROGRAM ARGUMENTS…`: become PROGRAM, tied to the life of PARENT.

On Linux the kernel sends SIGNAL to the program when the thread that started it ends: a supervisor killed with
SIGKILL, or a crashed test run, leaves no broker behind. Done in a program of its own because the alternative,
`preexec_fn`, runs Python between fork and exec, where another thread's lock can hang it for ever. The pid stays
the same over the exec. UID:GID is `-` to keep the user; PostgreSQL refuses to run as root, and the switch has to
come before the tie because changing the user clears it.

Elsewhere than Linux it only becomes the program: recorded pids (`state.py`) are what clears up there.
It imports nothing of ours, so that it starts in 15 ms.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(arguments: list[str]) -> None:
    """Switch the user, tie this process to its parent, become the program."""
    parent, number, user, program = int(arguments[0]), int(arguments[1]), arguments[2], arguments[3:]
    if user != "-":
        uid, gid = (int(part) for part in user.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it died before the tie was made: nobody would ever stop us
        sys.exit(1)
    os.execv(program[0], program)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
