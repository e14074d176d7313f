"""What was measured as a document in Markdown."""

import statistics

from contenders import CONTENDERS, MIB
from measuring import MEMORY

TITLES = [kind.title for kind in CONTENDERS]


def document(measured, conditions):
    rounds = "1 round" if measured.rounds == 1 else f"{measured.rounds} rounds"
    conditions = {
        **conditions,
        "for each scenario": f"{rounds} of {measured.seconds} s for each proxy, after a warm-up",
        "meanwhile": calmness(measured),
    }
    parts = [
        *loads(measured),
        *memories(measured),
        "\n".join(f"- could not be measured: {line}" for line in measured.failures()),
        "\n".join(f"- {name}: {value}" for name, value in conditions.items()),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def loads(measured):
    if not measured.scenarios:
        return []
    kinds = {
        "processor time of the proxy per request": cost,
        "requests a second (its core in use)": rate,
        "99 % of the answers within": tail,
    }
    tables = []
    for heading, show in kinds.items():
        rows = [
            [scenario.name, *(cell(measured, scenario.name, title, show) for title in TITLES)]
            for scenario in measured.scenarios
        ]
        tables.append(table(heading, rows))
    return tables


def table(heading, rows):
    lines = [[heading, *TITLES], ["---"] * (1 + len(TITLES)), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(measured, name, title, show):
    """A figure, and beside it what forbids to compare it."""
    if measured.median(name, title, "cpu_us") is None:
        return "failed"
    marks = []
    if measured.errors(name, title):
        marks.append(f"{measured.errors(name, title)} errors")
    if (name, title) in measured.reasons:
        marks.append("a round failed")
    return show(measured, name, title) + (f" **({', '.join(marks)})**" if marks else "")


def cost(measured, name, title):
    ratios = measured.ratios(name, title)
    # An error costs less than an answer, or more: nothing can be compared with it.
    alike = ratios and not any(measured.errors(name, one) for one in (title, TITLES[0]))
    compared = f" ×{statistics.median(ratios):.2f}" if alike and title != TITLES[0] else ""
    return f"{measured.median(name, title, 'cpu_us'):.1f} µs{compared}"


def rate(measured, name, title):
    cores = measured.median(name, title, "cores")
    return f"{measured.median(name, title, 'per_second'):,.0f} ({cores:.0%})"


def tail(measured, name, title):
    return f"{measured.median(name, title, 'p99_us') / 1000:.2f} ms"


def memories(measured):
    if not measured.memories and not any(name == MEMORY for name, _ in measured.reasons):
        return []

    def show(title, text):
        return text(measured.memories[title]) if measured.memories[title] else "failed"

    def start(rounds):
        return f"{statistics.median(one.start_bytes for one in rounds) / MIB:.1f} MiB"

    def client(rounds):
        return f"{statistics.median(one.client_bytes for one in rounds):,.0f} octets"

    held = f"for each of {measured.idle_clients:,} idle clients"
    return [table("resident memory", [
        ["at the start", *(show(title, start) for title in TITLES)],
        [held, *(show(title, client) for title in TITLES)],
    ])]


def calmness(measured):
    others = measured.others()
    if not others:
        return "no load was measured"
    text = (f"other processes took {statistics.median(others):.2f} cores (median of the rounds), "
            f"{max(others):.2f} at worst")
    moved = [
        max(abs(ratio / statistics.median(ratios) - 1) for ratio in ratios)
        for scenario in measured.scenarios for title in TITLES[1:]
        if len(ratios := measured.ratios(scenario.name, title)) > 1
    ]
    if moved:
        text += (f"; a ratio in a single round lay up to {statistics.median(moved):.0%} (median of the "
                 f"rows), {max(moved):.0%} (worst row) from the one shown")
    return text
