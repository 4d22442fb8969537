#!/usr/bin/env python3
"""Packs static programs into a one-layer container image, without a container engine.

usage: pack.py OUT.tar NAME ENTRYPOINT PATH=FILE | PATH=->TARGET | PATH/ ...
An ENTRYPOINT of - leaves it out. A PATH ending in / is a directory that anyone may write to.
The same input gives the same bytes, so that an unchanged image is recognised.
"""

import hashlib
import io
import json
import platform
import sys
import tarfile


def member(name: str, kind: bytes, mode: int, target: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.size = kind, mode, target, size
    return info


def layer(entries: list[str]) -> bytes:
    out = io.BytesIO()
    seen = set()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for entry in entries:
            path, _, source = entry.partition("=")
            name = path.strip("/")
            parents = name.split("/")[:-1]
            for depth in range(len(parents)):
                parent = "/".join(parents[: depth + 1])
                if parent not in seen:
                    seen.add(parent)
                    tar.addfile(member(parent, tarfile.DIRTYPE, 0o755))
            if path.endswith("/"):
                seen.add(name)
                tar.addfile(member(name, tarfile.DIRTYPE, 0o1777))
            elif source.startswith("->"):
                tar.addfile(member(name, tarfile.SYMTYPE, 0o777, target=source[2:]))
            else:
                with open(source, "rb") as file:
                    content = file.read()
                tar.addfile(member(name, tarfile.REGTYPE, 0o755, size=len(content)), io.BytesIO(content))
    return out.getvalue()


def main() -> None:
    out, name, entrypoint, *entries = sys.argv[1:]
    blob = layer(entries)
    digest = hashlib.sha256(blob).hexdigest()
    config = {"User": "65532:65532", "Env": ["PATH=/bin:/usr/bin"]}
    if entrypoint != "-":
        config["Entrypoint"] = [entrypoint]
    image = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    encoded = json.dumps(image).encode()
    config_name = f"{hashlib.sha256(encoded).hexdigest()}.json"
    layer_name = f"{digest}/layer.tar"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": [layer_name]}]).encode()
    with tarfile.open(out, "w") as tar:
        for path, content in ((config_name, encoded), (layer_name, blob), ("manifest.json", manifest)):
            tar.addfile(member(path, tarfile.REGTYPE, 0o644, size=len(content)), io.BytesIO(content))


if __name__ == "__main__":
    main()
