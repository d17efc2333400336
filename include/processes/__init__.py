"""Child processes: started in a session of their own, watched, and stopped with all their descendants.

Three mechanisms make sure that no process keeps running after the program that started it. Each covers a case that the
others cannot:

- `terminate` stops a whole session, including a descendant that ignores SIGTERM or moved to another session.
- `start_process(..., end_with_parent=True)` asks the Linux kernel to stop the child when its parent is killed.
  The kernel regards the *thread* that started the child as its parent, so this is for a caller whose thread lives until
  the child has ended: the rehearsal.
- `SessionRegister` and `find_orphans` let the next start find the processes that a killed one left. This is for the
  launcher: its steps start processes in threads that end before them.
"""

from include.processes.child import log_tail, memory_in_use, parent_death_signal, start_process
from include.processes.orphans import SessionRegister, find_orphans
from include.processes.termination import is_alive, session_of, session_processes, terminate

__all__ = [
    "SessionRegister",
    "find_orphans",
    "is_alive",
    "log_tail",
    "memory_in_use",
    "parent_death_signal",
    "session_of",
    "session_processes",
    "start_process",
    "terminate",
]
