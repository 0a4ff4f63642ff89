import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matching import naming

from profilegym.envs.data import records
from profilegym.envs.data.records import JsonFile
from profilegym.errors import DataError

PIECES = [
    '{"a": "é\\u00e9\\n"}',
    '{"b": [1, -2.5e3, true, null]}',
    "{}",
    ",",
    ",",
    " ",
    "\n",
    "NaN",
    '{"c": NaN}',
    "7",
    "\ufeff",
]


def written(folder: Path, content: str | bytes, name: str = "data.json") -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def complaint(path: str) -> str:
    with pytest.raises(DataError) as caught:
        list(JsonFile(path).scan())
    return str(caught.value).replace(path, "FILE")


@pytest.mark.parametrize("indent", [None, 4])
@pytest.mark.parametrize("start", ["", "\ufeff", " \r\n\t"])
def test_every_record_is_found_and_read_again(tmp_path: Path, indent: int | None, start: str) -> None:
    values = [
        {"id": str(n), "text": "é 漢 “quoted” \\ \U0001f600 ]}, " * n, "deep": [{"n": [n, None]}]} for n in range(9)
    ]
    file = JsonFile(written(tmp_path, start + json.dumps(values, indent=indent, ensure_ascii=False) + "\n"))

    scanned = list(file.scan())

    assert scanned == values
    assert [file.read(n) for n in (8, 0, 4)] == [values[n] for n in (8, 0, 4)]


@pytest.mark.parametrize("chunk", [1, 2, 7, 64])
def test_it_does_not_matter_where_a_chunk_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    values = [{"id": n, "text": 'naïve “漢字” \U0001f600\n\\u00e9 " true', "n": [-1.5e3, True, None]} for n in range(5)]
    escaped, plain = json.dumps(values), json.dumps(values, ensure_ascii=False, indent=1)
    monkeypatch.setattr(records, "_CHUNK", chunk)

    files = [JsonFile(written(tmp_path, text, f"{n}.json")) for n, text in enumerate((escaped, plain))]

    assert [list(file.scan()) for file in files] == [values, values]
    assert [file.read(3) for file in files] == [values[3], values[3]]


@given(
    content=st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    damage=st.tuples(st.integers(0, 60), st.integers(0, 3), st.sampled_from([b"", b"\xc3", b"]", b'"'])),
    chunk=st.sampled_from([1, 5, 1 << 20]),
)
def test_any_file_is_read_as_the_json_module_reads_it(
    tmp_path_factory: pytest.TempPathFactory, content: str, damage: tuple[int, int, bytes], chunk: int
) -> None:
    data, (start, length, instead) = f"[{content}]".encode(), damage
    path = written(tmp_path_factory.mktemp("any"), data[:start] + instead + data[start + length :])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(records, "_CHUNK", chunk)
        mine = read_or_none(lambda: list(JsonFile(path).scan()), DataError)
    theirs = read_or_none(lambda: json.loads(Path(path).read_text("utf-8-sig"), parse_constant=int), ValueError)

    usable = isinstance(theirs, list) and all(isinstance(record, dict) for record in theirs)
    assert mine == (theirs if usable else None)


def read_or_none(read: Callable[[], object], error: type[Exception]) -> object:
    try:
        return read()
    except error:
        return None


def test_json_lines_may_have_blank_lines_and_any_line_ends(tmp_path: Path) -> None:
    file = JsonFile(written(tmp_path, '\ufeff{"id": "ä"}\r\n\n  {"id": 2}', "data.jsonl"))

    scanned = list(file.scan())

    assert scanned == [{"id": "ä"}, {"id": 2}]
    assert file.read(1) == {"id": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "FILE: found the end of the file; expected a list of records, '['"),
        ('{"id": 1}', "FILE: found '{\"id\": 1}'; expected a list"),
        ('[{"id": 1}, 7]', "FILE, record 2: found 7; expected an object"),
        ('[{"id": 1}, {"id": 2', "FILE, record 2: the file ends before its list does"),
        ('[{"id": 1}, {"id": "2', "FILE, record 2: the file ends before its list does"),
        ('[{"id": 1},', "FILE, record 2: the file ends before its list does"),
        ('[{"id": 1}', "FILE, record 2: the file ends before its list does"),
        ('[{"id": 1} {"id": 2}]', "FILE, record 2, byte 11: not valid JSON: Expecting ',' or ']'"),
        ('[{"id": "é", "n" 2}]', "FILE, record 1, byte 18: not valid JSON: Expecting ':' delimiter; it stands in"),
        ('[{"id": NaN}]', "FILE, record 1, byte 1: not valid JSON: NaN is not a JSON number"),
        ('[{"id": 1},]', "FILE, record 2, byte 11: not valid JSON: Expecting value; it stands in"),
        ('[{"id": 1}] x', "FILE: found 'x' after the list"),
        (b'[{"id": 1}, {"id": "\xff"}]', "FILE, record 2, byte 20: not valid UTF-8"),
        (b"\xff\xfe[\x00", "FILE, record 1, byte 0: not valid UTF-8"),
        ('[{"id": "\\ud83d"}]', "FILE, record 1: holds '\\ud83d', half of a character"),
        ("[" + '{"a":' * 100_000, "FILE, record 1, byte 1: not valid JSON: maximum recursion depth"),
    ],
)
def test_a_malformed_list_is_named_to_the_byte(tmp_path: Path, content: str | bytes, message: str) -> None:
    assert message in complaint(written(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": 1}\n{"id": ', "FILE, record 2: not valid JSON: Expecting value"),
        ('{"id": 1} {"id": 2}', "FILE, record 1: not valid JSON: '{\"id\": 2}' follows the record"),
        ("[1]", "FILE, record 1: found [1]; expected an object"),
        (b'{"id": "\xff"}', "FILE, record 1: not valid JSON: 'utf-8' codec"),
        ('{"id": -Infinity}', "-Infinity is not a JSON number"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, content: str | bytes, message: str) -> None:
    assert message in complaint(written(tmp_path, content, "data.jsonl"))


def test_a_whole_emoji_may_be_written_as_two_escapes(tmp_path: Path) -> None:
    file = JsonFile(written(tmp_path, '[{"id": "\\ud83d\\ude00"}]'))

    assert list(file.scan()) == [{"id": "\U0001f600"}]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=naming(tmp_path / "nowhere.json")):
        JsonFile(str(tmp_path / "nowhere.json"))
    with pytest.raises(DataError, match=naming(tmp_path)):
        JsonFile(str(tmp_path))


def test_a_file_that_changes_or_vanishes_is_not_read_on(tmp_path: Path) -> None:
    path = Path(written(tmp_path, '[{"id": 1}]'))
    file = JsonFile(str(path))
    list(file.scan())

    path.write_text('[{"id": 12}]')
    with pytest.raises(DataError, match=naming(path, "changed")):
        file.read(0)

    path.unlink()
    with pytest.raises(DataError, match=naming(path, "No such file")):
        file.read(0)


@pytest.mark.slow
def test_a_large_file_streams_in_little_memory(tmp_path: Path) -> None:
    record = json.dumps({"id": 1, "profile": [{"text": "a few words of an old post " * 20}] * 100})
    path = written(tmp_path, "[" + ",\n".join([record] * 1000) + "]")  # 55 MB
    program = (
        "from profilegym.envs.data.records import JsonFile\n"
        "line = lambda: next(one for one in open('/proc/self/status') if one.startswith('VmHWM'))\n"
        "peak = lambda: int(line().split()[1]) // 1024\n"  # its own, no parent's
        f"before = peak(); found = sum(1 for _ in JsonFile({path!r}).scan()); print(found, peak() - before)"
    )

    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    found, mebibytes = map(int, run.stdout.split())
    assert found == 1000
    assert mebibytes < 30
