"""Tables in Markdown from what bench/compare has measured."""
from statistics import median

BEGIN = '<!-- generated: bench -->\n'
END = '<!-- end of generated -->\n'

# What the project wants to reach: text, what is divided by what (system, case, clients, number), least, aim. A goal whose least is
# above its aim is reached from above.
GOALS = [
    ('strong insert / PostgreSQL quorum, 8 clients', ('caucus', 'insert', 8, 'per_second'), ('postgres-quorum', 'insert', 8, 'per_second'), 1.0, 1.2),
    ('strong insert / PostgreSQL quorum, 64 clients', ('caucus', 'insert', 64, 'per_second'), ('postgres-quorum', 'insert', 64, 'per_second'), 1.5, 2.0),
    ('strong insert / PostgreSQL quorum, 256 clients', ('caucus', 'insert', 256, 'per_second'), ('postgres-quorum', 'insert', 256, 'per_second'), 2.0, 3.0),
    ('latency of a strong insert / PostgreSQL quorum, 1 client', ('caucus', 'insert', 1, 'mean_ms'), ('postgres-quorum', 'insert', 1, 'mean_ms'), 1.0, 0.8),
    ('strong insert / etcd put over HTTP, 64 clients', ('caucus', 'insert', 64, 'per_second'), ('etcd-http', 'insert', 64, 'per_second'), 3.5, 5.0),
    ('linearizable read, spread / etcd over gRPC, 64 clients', ('caucus', 'read', 64, 'per_second'), ('etcd', 'read', 64, 'per_second'), 3.0, 5.0),
    ('linearizable read, spread / PostgreSQL alone, 64 clients', ('caucus', 'read', 64, 'per_second'), ('postgres', 'read', 64, 'per_second'), 0.5, 0.9),
    ('weak insert, spread / pglogical both ways, 64 clients', ('caucus', 'weak insert', 64, 'per_second'), ('pglogical', 'insert', 64, 'per_second'), 1.3, 2.0),
    ('weak insert, spread / PostgreSQL alone, 64 clients', ('caucus', 'weak insert', 64, 'per_second'), ('postgres', 'insert', 64, 'per_second'), 0.9, 1.2),
]


class Results:
    def __init__(self, results):
        self.about = results['about']
        self.titles = results['titles']
        self.measured = results['measured']

    def rounds(self, system, case, clients):
        return [m for m in self.measured if (m['system'], m['case'], m['clients']) == (system, case, clients)]

    def value(self, system, case, clients, number):
        values = [m[number] for m in self.rounds(system, case, clients) if m.get(number) is not None]
        return median(values) if values else None

    def cost(self, system, case, clients, part):
        values = [m['cpu_us'][part] for m in self.rounds(system, case, clients) if part in m['cpu_us']]
        return median(values) if values else None

    def steps(self):
        seen = []
        for m in self.measured:
            if (m['case'], m['clients']) not in seen:
                seen.append((m['case'], m['clients']))
        return seen


def number(value, digits=0):
    if value is None:
        return ''
    return f'{value:,.{digits}f}'.replace(',', ' ')


def table(head, rows):
    lines = ['| ' + ' | '.join(head) + ' |', '| --- ' + '| ---: ' * (len(head) - 1) + '|']
    return '\n'.join(lines + ['| ' + ' | '.join(row) + ' |' for row in rows]) + '\n'


def speed_table(results):
    rows = []
    for case, clients in results.steps():
        row = [case, str(clients)]
        for system in results.titles:
            rate = results.value(system, case, clients, 'per_second')
            p50 = results.value(system, case, clients, 'p50_ms')
            p99 = results.value(system, case, clients, 'p99_ms')
            row.append('' if rate is None else f'{number(rate)} ({p50:.2f} / {p99:.2f})')
        rows.append(row)
    return table(['work', 'clients', *results.titles.values()], rows)


def round_ratios(results, above, below):
    """Ratios of the rounds in which both were measured."""
    system, case, clients, field = above
    others = {m['round']: m[below[3]] for m in results.rounds(*below[:3])}
    return [m[field] / others[m['round']] for m in results.rounds(system, case, clients) if others.get(m['round'])]


def goal_table(results):
    rows = []
    for text, above, below, least, aim in GOALS:
        ratios = round_ratios(results, above, below)
        if not ratios:
            continue
        middle = median(ratios)
        higher = aim > least
        reached = 'aim' if (middle >= aim if higher else middle <= aim) else 'least' if (middle >= least if higher else middle <= least) else 'no'
        rows.append([text, f'{middle:.2f}', f'{min(ratios):.2f} - {max(ratios):.2f}', f'{least:.1f} / {aim:.1f}', reached])
    bulk = results.value('caucus', 'bulk insert', 4, 'rows_per_second')
    if bulk is not None:
        values = [m['rows_per_second'] for m in results.rounds('caucus', 'bulk insert', 4)]
        rows.append(['bulk strong POST, 1000 rows per request, rows/s', number(bulk), f'{number(min(values))} - {number(max(values))}',
                     '150 000 / 300 000', 'aim' if bulk >= 300000 else 'least' if bulk >= 150000 else 'no'])
    followers = results.cost('caucus', 'insert', 64, 'PostgreSQL, followers')
    if followers is not None:
        rows.append(['PostgreSQL CPU per strong row at one follower, us, 64 clients', f'{followers / 2:.1f}', '', '5.0', 'least' if followers / 2 <= 5 else 'no'])
    for case, what in (('insert', 'a strong insert'), ('read', 'a linearizable read')):
        http = results.value('caucus', case, 64, 'http_cpu_us')
        if http is not None:
            values = [m['http_cpu_us'] for m in results.rounds('caucus', case, 64)]
            rows.append([f'CPU of the HTTP path per request, us, {what}, 64 clients', f'{http:.1f}', f'{min(values):.1f} - {max(values):.1f}',
                         '25.0', 'least' if http <= 25 else 'no'])
    settled = [m['settled_ms'] for m in results.rounds('caucus', 'weak insert', 64) if 'settled_ms' in m]
    if settled:
        rows.append(['all replicas equal after the last weak insert, ms', number(median(settled)), f'{number(min(settled))} - {number(max(settled))}',
                     '1 000', 'least' if max(settled) <= 1000 else 'no'])
    return table(['goal', 'median', 'spread over rounds', 'least / aim', 'reached'], rows)


def cost_table(results):
    rows = []
    for case, clients in results.steps():
        if clients not in (64, 4):
            continue
        for system, title in results.titles.items():
            measured = results.rounds(system, case, clients)
            if not measured:
                continue
            parts = ', '.join(f'{part} {results.cost(system, case, clients, part):.1f}' for part in measured[0]['cpu_us'])
            total = median(sum(m['cpu_us'].values()) for m in measured)
            rows.append([case, title, f'{total:.1f}', parts, number(results.value(system, case, clients, 'log_bytes')),
                         number(results.value(system, case, clients, 'disk_bytes')), number(results.value(system, case, clients, 'memory_mb'))])
    text = table(['work', 'system', 'CPU us per operation', 'of which', 'log bytes per operation', 'bytes to disk per operation', 'memory MB'], rows)
    return text.replace('| --- | ---: | ---: | ---: |', '| --- | --- | ---: | --- |', 1)


def bad_lines(results):
    bad = [m for m in results.measured if 'bad' in m]
    return ''.join(f'- {m["system"]}, {m["case"]}, {m["clients"]} clients, round {m["round"] + 1}: {m["bad"]}\n' for m in bad)


def tables(raw):
    results = Results(raw)
    about = results.about
    text = ''
    if about['label']:
        text += f'**{about["label"]}**\n\n'
    text += (f'{about["date"]}, commit {about["commit"]}. {about["cores"]} cores ({about["cpu"]}), {about["memory_gb"]} GB, Linux {about["kernel"]}, '
             f'load before {about["load_before"]}; {about["postgres"]}; {about["etcd"]}. '
             f'{about["rounds"]} rounds of {about["seconds"]} s.\n\n')
    text += 'Operations per second, median of the rounds (latency p50 / p99 in ms):\n\n' + speed_table(results)
    text += '\nRatios and goals:\n\n' + goal_table(results)
    text += '\nWhat one operation costs (bulk: one request):\n\n' + cost_table(results)
    bad = bad_lines(results)
    if bad:
        text += '\nNot everything succeeded:\n\n' + bad
    return text


def write_into(path, text, begin=BEGIN):
    with open(path, encoding='utf-8') as file:
        head, rest = file.read().split(begin, 1)
    tail = rest.split(END, 1)[1]
    with open(path, 'w', encoding='utf-8') as file:
        file.write(head + begin + text + END + tail)
