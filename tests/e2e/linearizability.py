"""Whether a recorded history of one register is linearizable (Wing and Gong's search, with Lowe's memory of visited states).

An operation is a read, a write, or a compare-and-set that succeeded or not. One whose outcome is unknown may have taken effect
at any time after it began, or never.
"""
import math
from collections import namedtuple

READ, WRITE, CAS = 'read', 'write', 'cas'

STATES_MAX = 2000000  # of the search; a history of some thousand operations needs about as many states as operations

# kind; began and ended (seconds; ended is infinite when the outcome is unknown); value: read or written;
# expected: of a compare-and-set; done: whether it changed the register (None: unknown)
Operation = namedtuple('Operation', 'kind began ended value expected done who', defaults=(None, None, ''))


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
    known = sorted((operation for operation in history if not unknown(operation)), key=lambda operation: operation.began)
    others = [operation for operation in history if unknown(operation) and operation.kind != READ]
    seen = set()
    deepest, stuck = -1, []
    # (known operations placed without gap, those placed beyond, unknown ones placed, register)
    stack = [(0, frozenset(), frozenset(), initial)]
    while stack and len(seen) < STATES_MAX:
        base, beyond, used, state = stack.pop()
        # What changes nothing and may be now can take its place at once.
        base, beyond, candidates, horizon = settle(known, base, beyond, state)
        if base == len(known):
            return None
        if (base, beyond, used, state) in seen:
            continue
        seen.add((base, beyond, used, state))
        if base + len(beyond) > deepest:
            deepest, stuck = base + len(beyond), [known[i] for i in candidates]
        # Last in, first out: what ended first is tried first, so that what was under way for long waits for those who saw it.
        for i in sorted(candidates, key=lambda i: -known[i].ended):
            for used_before, state_before in ways_to(known[i], others, used, state, horizon):
                stack.append((*place(base, beyond, i), used_before, after(known[i], state_before)))
    if stack:
        raise RuntimeError(f'not decided within {STATES_MAX} states')
    return stuck


def ways_to(operation, others, used, state, horizon):
    """The operation as the next known one: after nothing else, or after unknown ones that it needs (no other unknown one helps)."""
    if after(operation, state) is not None:
        yield used, state
        return
    needed = operation.value if operation.kind == READ else operation.expected if operation.done else None
    for i, other in enumerate(others):
        if i in used or other.began >= horizon or (needed is not None and other.value != needed):
            continue
        if other.kind == WRITE or state == other.expected:
            yield used | {i}, other.value
        elif needed is not None:
            before = Operation(CAS, other.began, other.ended, other.value, other.expected, True)
            for used_before, _ in ways_to(before, others, used | {i}, state, horizon):
                yield used_before, other.value


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
