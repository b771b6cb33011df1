"""`make bench`: measures, keeps the figures in results.json, and prints them."""

import argparse
import importlib
import sys

from benchmarks.figures import keep

GROUPS = (
    "one_object", "many_items", "heavy_module", "cost", "manifest", "resume", "kills", "s3_clients", "images",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("group", nargs="*", choices=[[], *GROUPS], help=f"only these of: {', '.join(GROUPS)}")
    for group in parser.parse_args().group or GROUPS:
        figures = importlib.import_module(f"benchmarks.{group}").measure()
        keep(group, figures)
        for figure in figures:
            aim = f" (aim: {figure.target})" if figure.target else ""
            print(f"{figure.name}: {figure.shown} {figure.unit}{aim} {figure.beside}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
