"""What processes cost: CPU and memory from /proc, and what the disk was told to write."""
import os

TICK_US = 1e6 / os.sysconf('SC_CLK_TCK')


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


def cpu_us(pid, with_ended_children):
    """User and system time so far, in microseconds."""
    fields = _stat(pid)
    return sum(int(field) for field in fields[11:15 if with_ended_children else 13]) * TICK_US


def tree_cpu_us(root):
    """Of a process, everything below it, and what below it has ended and been waited for."""
    return sum(cpu_us(pid, True) for pid in tree(root))


def device_bytes_written(path):
    """Bytes that the disk below this path has been told to write, by anybody; None if the file system is not on a disk.

    /proc/PID/io would tell the processes apart, but it counts whole folios for every small write.
    """
    device = os.stat(path).st_dev
    fields = _read(f'/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat').split()
    return int(fields[6]) * 512 if len(fields) > 6 else None


def thread_cpu_us(pid, name):
    """User and system time so far of the process's threads with this name."""
    used = 0.0
    for thread in os.listdir(f'/proc/{pid}/task'):
        path = f'/proc/{pid}/task/{thread}'
        if _read(f'{path}/comm').strip() == name:
            fields = _read(f'{path}/stat').rpartition(')')[2].split()
            used += sum(int(field) for field in fields[11:13]) * TICK_US
    return used


def memory_mb(pids):
    """Proportional set size: shared memory is counted once over the processes that share it."""
    kilobytes = 0
    for pid in pids:
        for line in _read(f'/proc/{pid}/smaps_rollup').splitlines():
            if line.startswith('Pss:'):
                kilobytes += int(line.split()[1])
    return kilobytes / 1024
