# SPDX-License-Identifier: Apache-2.0
"""Validity of cleaned objects: errors that ``dciodvfy`` reports after a profile and did not report before.

Needs Debian's ``dicom3tools``. Each file of ``--files`` is cleaned by every shipped profile, without its pixels being
searched, and checked before and after. Kinds of error are compared without values, numbers of items and paths.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

from medhub.science.deid.file_cleaning import clean_file
from medhub.science.deid.profile import Pixels, find_profile, named_profiles

KEY = b"a key for measuring only"
LARGEST = 3_000_000
_VALUES = re.compile(r"\b\d+(?:\.\d+){2,}\b|\(0x[0-9a-f]{4},0x[0-9a-f]{4}\)|<[^<>]*> (?=for value)|\[[^\]]*\]|\b\d+\b")


def kinds_of_error(path: Path) -> set[str]:
    """Errors of a file, without values."""
    done = subprocess.run(["dciodvfy", path], capture_output=True, check=False)
    lines = (done.stdout + done.stderr).decode("utf-8", "replace").splitlines()
    return {_VALUES.sub("#", line) for line in lines if line.startswith("Error")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=Path, default=Path("../shared/data/dicom"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    files = []
    for path in sorted(options.files.rglob("*")):
        if path.is_file() and path.stat().st_size <= LARGEST and path.read_bytes()[128:132] == b"DICM":
            files.append((path, path.read_bytes(), kinds_of_error(path)))
    added, cleaned = Counter[tuple[str, str]](), Counter[str]()
    examples: dict[tuple[str, str], Path] = {}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "cleaned.dcm"
        for name in named_profiles():
            profile = find_profile(name).model_copy(update={"pixels": Pixels(clean=False)})
            for path, data, before in files:
                result = clean_file(data, profile, KEY)
                if result.outcome != "cleaned":
                    continue
                cleaned[name] += 1
                target.write_bytes(result.data)
                for kind in kinds_of_error(target) - before:
                    added[name, kind] += 1
                    examples.setdefault((name, kind), path)
    print("| profile | files | kinds of new error | files with one |\n|---|---:|---:|---:|")
    for name in named_profiles():
        kinds = {kind: count for (profile_name, kind), count in added.items() if profile_name == name}
        print(f"| {name} | {cleaned[name]} | {len(kinds)} | {max(kinds.values(), default=0)} |")
    print()
    for (name, kind), count in added.most_common(60):
        print(f"- {name}: {count} x {kind} ({examples[name, kind].name})")
    sys.exit(bool(added))


if __name__ == "__main__":
    main()
