"""How two compare that are measured side by side, on a machine that is not the same from one second to the next.

What disturbs a machine for a second disturbs whoever runs then. So both get their load at the same time, on the same core,
where the kernel has them take turns of milliseconds; what each took is counted for each. That makes one ratio, and there are
many of them; the table has their median, and where it lies with 95 % (by the binomial distribution, whatever that of the
ratios is).
"""

import math
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

# Seconds after which a session is touched, and what proves it is signed anew; and before which that is not due again.
DUE, NOT_DUE = 61, 52


def ratios(cost, one, other, count):
    """`count` ratios of what `one` costs by what `other` does. `cost(who)` measures a while: requests, and seconds of CPU.

    What is due once a minute is done when all of it is due, and counted for neither.
    """
    found, done = [], time.monotonic()
    with ThreadPoolExecutor(2) as both:
        while len(found) < count:
            if not found or time.monotonic() > done + NOT_DUE:
                time.sleep(max(0, done + DUE - time.monotonic()))
                done = time.monotonic()
                list(both.map(cost, (one, other)))
            # Who begins must not matter.
            order = (one, other) if len(found) % 2 == 0 else (other, one)
            taken = dict(zip(order, both.map(cost, order), strict=True))
            each = {who: cpu / requests for who, (requests, cpu) in taken.items()}
            found.append(each[one] / each[other])
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
