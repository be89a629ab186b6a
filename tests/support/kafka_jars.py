"""Apache Kafka's jars in a cache folder: fetched once from Maven Central by jgo, and checked against ``kafka.lock``.

The lock names each jar by its Maven coordinate and sha256; a jar with another digest is never put on a class path.
``python -m tests.support.kafka_jars --lock`` resolves the dependencies anew and writes the lock (after a change of version).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

KAFKA_VERSION = "4.1.0"
ROOTS = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    "org.slf4j:slf4j-simple:1.7.36",  # Kafka's jars bring no log backend: without one a broker that fails says nothing
)
LOCK = Path(__file__).with_name("kafka.lock")
DOWNLOAD_TIMEOUT_S = 60


class JarError(RuntimeError):
    """A jar is not the one that the lock names."""


def cache_folder() -> Path:
    """``TIDEMARK_KAFKA_CACHE``, or ``~/.cache/tidemark/kafka-<version>``."""
    return Path(os.environ.get("TIDEMARK_KAFKA_CACHE") or Path.home() / ".cache" / "tidemark" / f"kafka-{KAFKA_VERSION}")


def read_lock() -> dict[str, str]:
    """Coordinate ``group:artifact:version`` -> sha256 (hex)."""
    lines = [line.split() for line in LOCK.read_text().splitlines() if line and not line.startswith("#")]
    return {coordinate: digest for digest, coordinate in lines}


def file_name(coordinate: str) -> str:
    _, artifact, version = coordinate.split(":")
    return f"{artifact}-{version}.jar"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def class_path() -> str:
    """The class path of a Kafka server, complete and checked. Fetches what the cache folder lacks."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    lock = read_lock()
    missing = {c: digest for c, digest in lock.items() if not _is_good(folder / file_name(c), digest)}
    if missing:
        _fetch(missing, folder)
    return os.pathsep.join(str(folder / file_name(coordinate)) for coordinate in lock)


def _is_good(path: Path, digest: str) -> bool:
    return path.is_file() and sha256(path) == digest


def _fetch(wanted: dict[str, str], folder: Path) -> None:
    """Downloads into a folder of its own, and moves each jar into place only when its digest is right."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        context = _maven(Path(work))

        def fetch(coordinate: str) -> None:
            group, artifact, version = coordinate.split(":")
            jar = context.project(group, artifact).at_version(version).artifact().resolve()
            if sha256(jar) != wanted[coordinate]:
                raise JarError(f"{coordinate}: sha256 {sha256(jar)}, but kafka.lock says {wanted[coordinate]}")
            shutil.move(jar, folder / file_name(coordinate))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(fetch, wanted))


def _maven(repository: Path):  # type: ignore[no-untyped-def]  # jgo has no types of its own
    from jgo.maven import MavenContext

    return MavenContext(repo_cache=repository, timeout=DOWNLOAD_TIMEOUT_S)


def write_lock() -> None:
    """Resolves ``ROOTS`` with all that they need at run time, and writes coordinates and digests."""
    with tempfile.TemporaryDirectory() as work:
        context = _maven(Path(work))
        roots = [context.create_dependency(root) for root in ROOTS]
        _, nodes = context.resolver.get_dependency_list(roots)
        artifacts = {root.artifact for root in roots} | {node.dep.artifact for node in nodes}
        lines = sorted(f"{a.groupId}:{a.artifactId}:{a.version} {sha256(a.resolve())}" for a in artifacts)
    entries = "".join(f"{digest}  {coordinate}\n" for coordinate, digest in (line.split() for line in lines))
    LOCK.write_text("# Written by `python -m tests.support.kafka_jars --lock`: sha256, Maven coordinate\n" + entries)


def main() -> None:
    parser = argparse.ArgumentParser(description="Fetch Apache Kafka's jars into the cache folder.")
    parser.add_argument("--lock", action="store_true", help="resolve the dependencies anew and write kafka.lock first")
    if parser.parse_args().lock:
        write_lock()
    jars = class_path().split(os.pathsep)
    print(f"{len(jars)} jars in {cache_folder()}")


if __name__ == "__main__":
    main()
