"""What is held for each idle pair of a client and an upstream connection, by who asked for it: printed
by an example of the proxy's crate whose allocator notes every block."""

import re

from . import examples

LINE = re.compile(r"^ *([\d.]+) +(\d+) +([\d.]+)  (.+)$", re.M)


def run(say) -> list[dict]:
    """Rows {bytes, size, pieces, place}."""
    text = examples.output("penstock-proxy", "pair_memory", 1, say)
    return [{"bytes": float(held), "size": int(size), "pieces": float(pieces), "place": place}
            for held, size, pieces, place in LINE.findall(text)]
