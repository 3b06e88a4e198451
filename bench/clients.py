"""Clients that measure while the caller does something to the cluster, and the percentiles of what they measured."""
import multiprocessing


class Clients:
    """In a process of their own: the relays of the peers' connections are threads of the caller's. A subclass says in measure() what they do
    until self.ending is set, and answers with a list."""

    def __init__(self, cluster, replica):
        self.cluster, self.replica, self.ending = cluster, replica, multiprocessing.Event()
        self.ours, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=self._run, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def _run(self, pipe):
        pipe.send(self.measure())

    def measure(self):
        raise NotImplementedError

    def stop(self):
        """What they have measured."""
        self.ending.set()
        measured = self.ours.recv()
        self.process.join()
        return measured


def percentile_ms(seconds, share):
    seconds = sorted(seconds)
    return 1000 * seconds[min(len(seconds) - 1, int(len(seconds) * share))]
