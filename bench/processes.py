"""What processes cost: CPU, memory and written bytes, from /proc."""
import os

TICK_US = 1e6 / os.sysconf('SC_CLK_TCK')


class Usage:
    """CPU microseconds and bytes sent to the storage layer so far. Usages can be subtracted and added."""

    def __init__(self, cpu_us=0.0, written=0):
        self.cpu_us = cpu_us
        self.written = written

    def __sub__(self, other):
        return Usage(self.cpu_us - other.cpu_us, self.written - other.written)

    def __add__(self, other):
        return Usage(self.cpu_us + other.cpu_us, self.written + other.written)


def _read(path):
    try:
        with open(path, encoding='utf-8', errors='replace') as file:
            return file.read()
    except OSError:  # the process has ended
        return ''


def _stat(pid):
    """The fields of /proc/PID/stat behind the command's name: [0] is the state, [1] the parent."""
    return _read(f'/proc/{pid}/stat').rpartition(')')[2].split()


def children_of():
    """{parent: [children]} of all processes."""
    children = {}
    for name in os.listdir('/proc'):
        fields = _stat(name) if name.isdigit() else []
        if fields:
            children.setdefault(int(fields[1]), []).append(int(name))
    return children


def tree(root, children=None):
    """root and everything below it."""
    children = children_of() if children is None else children
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def command_line(pid):
    return _read(f'/proc/{pid}/cmdline').split('\0')


def usage(pid, with_ended_children):
    fields = _stat(pid)
    if not fields:
        return Usage()
    ticks = sum(int(field) for field in fields[11:15 if with_ended_children else 13])
    written = 0
    for line in _read(f'/proc/{pid}/io').splitlines():  # of ended children too
        if line.startswith('write_bytes:'):
            written = int(line.split()[1])
    return Usage(ticks * TICK_US, written)


def tree_usage(root):
    """Of a process, everything below it, and what below it has ended and been waited for."""
    return sum((usage(pid, True) for pid in tree(root)), Usage())


def memory_mb(pids):
    """Proportional set size: shared memory is counted once over the processes that share it."""
    kilobytes = 0
    for pid in pids:
        for line in _read(f'/proc/{pid}/smaps_rollup').splitlines():
            if line.startswith('Pss:'):
                kilobytes += int(line.split()[1])
    return kilobytes / 1024
