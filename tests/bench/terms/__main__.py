"""`python -m tests.bench.terms TABLE`: one of the tables that stand in `experiments/README.md`."""

import sys
from importlib import import_module

TABLES = {
    "sites": "sites", "looks": "sites", "masks": "masks", "noise": "noise", "suspects": "noise",
    "teachers": "teachers", "few": "teachers", "rare": "teachers",
}  # fmt: skip

if __name__ == "__main__":
    table = sys.argv[1] if sys.argv[1:] else ""
    if table not in TABLES:
        sys.exit(f"python -m tests.bench.terms, then one of {', '.join(TABLES)}, then --help")
    import_module(f"tests.bench.terms.{TABLES[table]}").main(sys.argv[1:])
