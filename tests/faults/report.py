"""What a scenario has to say: its figures, what was wrong, and a row for the comparison.

A scenario goes on after an expectation that was not met, because the figures that come after it are
what explains it.
"""

import signal
import traceback

import harness


class Report:
    def __init__(self):
        self.rows = []
        self._figures = []
        self._complaints = []

    def say(self, figure):
        self._figures.append(figure)

    def expect(self, condition, complaint):
        if not condition:
            self._complaints.append(complaint)

    def has_passed(self):
        return not self._complaints

    def line(self, name, seconds):
        verdict = "PASS" if self.has_passed() else "FAIL"
        reason = "".join(f" [{complaint}]" for complaint in self._complaints)
        return f"{verdict} {name} ({seconds:.1f} s){reason}: {'; '.join(self._figures)}"


def guarded(report, prefix, work):
    """Does it within the time it may take; what it raises is a complaint."""
    signal.signal(signal.SIGALRM, harness.too_long)
    signal.alarm(harness.CHECK_SECONDS_MAX)
    try:
        work()
    except harness.Failure as failure:
        report.expect(False, f"{prefix}{failure}")
    except Exception:
        report.expect(False, prefix + traceback.format_exc().rstrip())
    finally:
        signal.alarm(0)


def table(rows):
    """Dictionaries with the same keys, side by side under their keys."""
    cells = [list(rows[0]), *[[str(value) for value in row.values()] for row in rows]]
    widths = [max(len(line[place]) for line in cells) for place in range(len(cells[0]))]
    return "\n".join(
        "     " + "  ".join(cell.rjust(width) for cell, width in zip(line, widths)) for line in cells
    )


def shortened(things, count=3):
    """The first few, and how many there are in all."""
    shown = ", ".join(str(thing) for thing in things[:count])
    return f"{len(things)} of them: {shown}{', ...' if len(things) > count else ''}"
