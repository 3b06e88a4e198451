"""Whether a recorded history of one register is linearizable (Wing and Gong's search, with Lowe's memory of visited states).

An operation is a read, a write, or a compare-and-set that succeeded or not. One whose outcome is unknown may have taken effect
at any time after it began, or never. Writers write each value once.
"""
import math
from collections import namedtuple

READ, WRITE, CAS = 'read', 'write', 'cas'

STATES_MAX = 2000000  # of the search; a history of some thousand operations needs about as many states as operations

# kind; began and ended (seconds; ended is infinite when the outcome is unknown); value: read or written;
# expected: of a compare-and-set; done: whether it changed the register (None: unknown)
Operation = namedtuple('Operation', 'kind began ended value expected done who', defaults=(None, None, ''))

NOBODY_SAW = 'a value that nobody saw'


class Undecided(Exception):
    """The search has given up."""


def unknown(operation):
    return operation.ended == math.inf


def after(operation, state):
    """The register after the operation, or None when the operation cannot have happened on `state`."""
    if operation.kind == READ:
        return state if state == operation.value else None
    if operation.kind == WRITE:
        return operation.value
    matches = state == operation.expected
    if operation.done is None:
        return operation.value if matches else None  # without an effect it needs no place
    if operation.done != matches:
        return None
    return operation.value if matches else state


def stuck_at(history, initial):
    """None when the history is linearizable; otherwise the operations that stand where the longest order found ends."""
    return Search(history).stuck_at(initial)


class Search:
    def __init__(self, history):
        self.known = sorted((operation for operation in history if not unknown(operation)), key=lambda operation: operation.began)
        others = sorted((operation for operation in history if unknown(operation) and operation.kind != READ),
                        key=lambda operation: operation.began)
        # Who saw a value: by then the write of it has happened. Who only did not see it needs nothing of it.
        seers, mentioned = {}, set()
        for i, operation in enumerate(self.known):
            if operation.kind == READ:
                seers.setdefault(operation.value, []).append(i)
            elif operation.kind == CAS:
                mentioned.add(operation.expected)
                if operation.done:
                    seers.setdefault(operation.expected, []).append(i)
        mentioned |= set(seers) | {operation.expected for operation in others if operation.kind == CAS}
        # Writes whose value nobody mentions differ in nothing but when they began: they are taken in that order, and are only counted.
        self.blind = [operation for operation in others if operation.kind == WRITE and operation.value not in mentioned]
        self.others = [operation for operation in others if operation.kind == CAS or operation.value in mentioned]
        self.seers = [seers.get(operation.value, []) for operation in self.others]

    def stuck_at(self, initial):
        known = self.known
        seen = set()
        deepest, stuck = -1, []
        # (known operations placed without gap, those placed beyond, unknown ones placed, blind ones placed, register)
        stack = [(0, frozenset(), frozenset(), 0, initial)]
        while stack and len(seen) < STATES_MAX:
            base, beyond, used, n_blind, state = stack.pop()
            # What changes nothing and may be now can take its place at once.
            base, beyond, candidates, horizon = settle(known, base, beyond, state)
            if base == len(known):
                return None
            used = frozenset(i for i in used if not self.over(i, base, beyond))
            if (base, beyond, used, n_blind, state) in seen:
                continue
            seen.add((base, beyond, used, n_blind, state))
            if base + len(beyond) > deepest:
                deepest, stuck = base + len(beyond), [known[i] for i in candidates]
            usable = [i for i, other in enumerate(self.others) if other.began < horizon and i not in used and not self.over(i, base, beyond)]
            blind = n_blind < len(self.blind) and self.blind[n_blind].began < horizon
            # Last in, first out: what ended first is tried first, so that what was under way for long waits for those who saw it.
            for i in sorted(candidates, key=lambda i: -known[i].ended):
                for used_before, more, state_before in self.ways_to(known[i], usable, used, blind, state):
                    stack.append((*place(base, beyond, i), used_before, n_blind + more, after(known[i], state_before)))
        if stack:
            raise Undecided(f'not decided within {STATES_MAX} states')
        return stuck

    def over(self, i, base, beyond):
        """All that saw what unknown operation i wrote have their place, so it has its own, and can be forgotten."""
        return self.seers[i] != [] and all(seer < base or seer in beyond for seer in self.seers[i])

    def ways_to(self, operation, usable, used, blind, state):
        """The operation as the next known one: after nothing else, or after unknown ones that it needs (no other unknown one helps)."""
        if after(operation, state) is not None:
            yield used, 0, state
            return
        needed = operation.value if operation.kind == READ else operation.expected if operation.done else None
        if needed is None and blind:
            yield used, 1, NOBODY_SAW
        for i in usable:
            other = self.others[i]
            if i in used or (needed is not None and other.value != needed):
                continue
            if other.kind == WRITE or state == other.expected:
                yield used | {i}, 0, other.value
            elif needed is not None:
                before = Operation(CAS, other.began, other.ended, other.value, other.expected, True)
                for used_before, _, _ in self.ways_to(before, usable, used | {i}, False, state):
                    yield used_before, 0, other.value


def place(base, beyond, i):
    beyond = beyond | {i}
    while base in beyond:
        beyond = beyond - {base}
        base += 1
    return base, beyond


def settle(known, base, beyond, state):
    while True:
        candidates, horizon = [], math.inf
        for i in range(base, len(known)):
            if known[i].began > horizon:
                break
            if i not in beyond:
                candidates.append(i)
                horizon = min(horizon, known[i].ended)
        candidates = [i for i in candidates if known[i].began <= horizon]
        idle = [i for i in candidates if known[i].kind != WRITE and after(known[i], state) == state]
        if not idle:
            return base, beyond, candidates, horizon
        for i in idle:
            base, beyond = place(base, beyond, i)
