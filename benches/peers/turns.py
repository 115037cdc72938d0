"""How two that are measured in turns compare, on a machine that is not the same from one second to the next.

What disturbs a machine for seconds disturbs neighbours alike. So the ratio is taken of neighbours: one, the other, the other,
one, each for a second, and the next time the other way round. That makes one ratio, and there are many of them; the table
has their median, and where it lies with 95 % (by the binomial distribution, whatever that of the ratios is).
"""

import math
import statistics

# What is due once a minute, as the touch of a session and what proves it, is done before, and counted for neither.
BEFORE_DUE = 8


def ratios(cost, one, other, count):
    """`count` ratios of what `one` costs by what `other` does. `cost(who)` measures for a second: requests, and seconds of CPU."""
    found = []
    for number in range(count):
        if number % BEFORE_DUE == 0:
            cost(one), cost(other)
        turn = (one, other, other, one) if number % 2 == 0 else (other, one, one, other)
        requests, cpu = {one: 0, other: 0}, {one: 0.0, other: 0.0}
        for who in turn:
            answered, took = cost(who)
            requests[who] += answered
            cpu[who] += took
        found.append(cpu[one] / requests[one] / (cpu[other] / requests[other]))
    return found


def median_between(values):
    """The lowest and the highest that the median of all there could be is, with 95 %."""
    values, count = sorted(values), len(values)
    below, chance = 0, 0.5**count
    while chance + math.comb(count, below + 1) * 0.5**count <= 0.025 and below < count // 2:
        below += 1
        chance += math.comb(count, below) * 0.5**count
    return values[below], values[-1 - below]


def row(name, values):
    low, high = median_between(values)
    return f"| {name} | {statistics.median(values):.3f} | {low:.3f}–{high:.3f} | {len(values)} |"
