#!/usr/bin/env python3
"""The table of values in the chart's README, from the comments in values.yaml. usage: values.py [--check]

--check changes nothing and fails when the table is another one, a value has no comment, or values.schema.json and
values.yaml differ in what there is.
"""
import json
import pathlib
import re
import sys

CHART = pathlib.Path(__file__).parent / "oidc-proxy-operator"
START, END = "<!-- values: written by charts/values.py -->\n", "<!-- end of values -->\n"


def values():
    """(path, default, comment) of each documented value, and the paths of leaves that have no comment."""
    rows, bare, path, comment, inside = [], [], [], None, None
    for line in (CHART / "values.yaml").read_text().splitlines():
        indent = len(line) - len(line.lstrip())
        text = line.strip()
        if inside is not None and text and indent > inside:
            continue
        inside = None
        if text.startswith("# -- "):
            comment = text[5:]
        elif text.startswith("#"):
            comment = comment and f"{comment} {text[2:]}"
        elif match := re.match(r"([A-Za-z]+):(?: (.*))?$", text):
            name, default = match.groups()
            path = path[: indent // 2] + [name]
            if comment is not None:
                rows.append((".".join(path), default, comment))
                # The keys of a documented map are examples of its content.
                inside = indent
            elif default is not None:
                bare.append(".".join(path))
            comment = None
        elif not text:
            comment = None
    return rows, bare


def leaves(schema, path=""):
    properties = schema.get("properties")
    if not properties:
        yield path
        return
    for name, value in properties.items():
        yield from leaves(value, f"{path}.{name}".lstrip("."))


def table(rows):
    lines = ["| value | default | meaning |", "|---|---|---|"]
    for path, default, comment in rows:
        shown = f"`{default}`" if default is not None else "see values.yaml"
        comment = comment.replace("|", "\\|")
        lines.append(f"| `{path}` | {shown} | {comment} |")
    return "\n".join(lines) + "\n"


def main():
    rows, bare = values()
    readme = CHART / "README.md"
    text = readme.read_text()
    before, rest = text.split(START)
    after = rest.split(END)[1]
    wanted = before + START + table(rows) + END + after
    if "--check" not in sys.argv:
        readme.write_text(wanted)
        return
    schema = json.loads((CHART / "values.schema.json").read_text())
    known = set(leaves(schema)) - {"global"}
    faults = [f"{path} has no comment" for path in bare]
    faults += [f"only one of values.yaml and its schema has {path}" for path in sorted(known ^ {path for path, _, _ in rows})]
    if wanted != text:
        faults.append("the README has another table: run charts/values.py")
    for fault in faults:
        print(f"values: {fault}", file=sys.stderr)
    sys.exit(bool(faults))


main()
