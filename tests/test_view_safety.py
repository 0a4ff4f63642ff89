"""The viewer's server is reached by this machine alone, shows nothing to strangers, and takes no text for markup."""

import html
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("fastapi")
from viewing import ORACLE, Viewer, add, lines_of, play, viewing

from profilegym import Profile, Question, load_questions
from profilegym._util.keys import hidden
from profilegym._util.registry import Registry
from profilegym.agents.models.model import MODELS
from profilegym.apps.view.trust import is_trusted, is_trusted_data
from profilegym.envs.data.jsonl import write_jsonl
from profilegym.envs.retrieval.retriever import RETRIEVERS
from profilegym.envs.tools.toolset import TOOLS
from profilegym.rewards.registry import JUDGES

HOSTILE = (
    '<script>alert(1)</script><img src=x onerror=alert(2)>" onmouseover="alert(3)\' {{1234*4321}} &lt;b&gt; '
    "\u202egnp.exe\u200b"
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    play(folder / "oracle")
    return folder


@pytest.fixture(scope="module")
def stranger(runs: Path) -> Iterator[Viewer]:
    with viewing(runs) as viewer:
        yield viewer


@pytest.fixture
def newcomer(runs: Path) -> Iterator[Viewer]:
    with viewing(runs) as viewer:
        yield viewer


@pytest.fixture(scope="module")
def viewer(runs: Path) -> Iterator[Viewer]:
    with viewing(runs) as viewer:
        yield viewer.enter()


def test_it_listens_on_the_loopback_interface_alone(stranger: Viewer) -> None:
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}

    for address in {"127.0.0.2", *map(str, others)}:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, stranger.port), timeout=2)


@pytest.mark.parametrize("path", ["/", "/run/oracle", "/static/view.js", "/state", "/run/oracle/trajectories/1/line"])
def test_a_stranger_is_shown_nothing(stranger: Viewer, path: str) -> None:
    answer = stranger.get(path)

    assert answer.status == 403
    assert "oracle" not in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/?token=wrong", "/?token=", "/?token=%00%ff"])
def test_a_wrong_token_opens_nothing(stranger: Viewer, path: str) -> None:
    answer = stranger.get(path)

    assert (answer.status, "set-cookie" in answer.headers) == (403, False)


def test_the_token_gives_a_cookie_that_no_script_and_no_other_site_can_use(newcomer: Viewer) -> None:
    cookie = newcomer.get(f"/?token={newcomer.token}").headers["set-cookie"]

    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert newcomer.token not in cookie
    assert newcomer.get("/", cookie=cookie.partition(";")[0]).status == 200


def test_the_token_opens_any_number_of_browsers(newcomer: Viewer) -> None:
    link = f"/?token={newcomer.token}"

    cookies = [newcomer.get(link).headers["set-cookie"].partition(";")[0] for _ in range(3)]

    assert [newcomer.get("/", cookie=cookie).status for cookie in cookies] == [200, 200, 200]
    assert newcomer.get("/").status == 403


@pytest.mark.parametrize("cookie", ["profilegym-{port}=guess", "profilegym-{port}=", "other=1", "=;;=\x7f", "{port}"])
def test_a_made_up_cookie_opens_nothing(stranger: Viewer, cookie: str) -> None:
    assert stranger.get("/", cookie=cookie.format(port=stranger.port)).status == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}"])
def test_another_host_name_is_refused_so_that_no_dns_trick_reaches_it(viewer: Viewer, host: str) -> None:
    answer = viewer.get("/", host=host.format(port=viewer.port))

    assert answer.status == 403
    assert "oracle" not in answer.text


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1", "http://localhost:{port}"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_page_of_another_site_is_refused_even_with_the_cookie(viewer: Viewer, method: str, origin: str) -> None:
    ask = viewer.get if method == "get" else viewer.post

    assert ask("/", origin=origin.format(port=viewer.port)).status == 403


def test_a_form_without_an_origin_is_refused(viewer: Viewer) -> None:
    assert viewer.post("/run/oracle/live", origin="").status == 403


@pytest.mark.parametrize("path", ["/", "/nowhere", "/static/view.js", "/run/oracle/trajectories/1"])
def test_every_answer_forbids_scripts_from_elsewhere(viewer: Viewer, path: str) -> None:
    headers = viewer.get(path).headers

    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "same-origin"


def test_a_refusal_has_the_same_headers(stranger: Viewer) -> None:
    assert "default-src 'none'" in stranger.get("/").headers["content-security-policy"]


def test_no_page_holds_the_token_or_the_cookies_secret(viewer: Viewer) -> None:
    assert viewer.cookie is not None
    secret = viewer.cookie.partition("=")[2]

    for path in ("/", "/run/oracle", "/run/oracle/trajectories", "/run/oracle/trajectories/20", "/nowhere"):
        answer = viewer.get(path)
        assert viewer.token not in answer.text
        assert secret not in answer.text + str(dict(answer.headers))


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ("openai:m,api_key=sk-SECRET,temperature=0", "openai:m,temperature=0"),
        ("http://me:sk-SECRET@127.0.0.1:1/", "http://[key]@127.0.0.1:1/"),
    ],
)
def test_no_page_holds_a_key_that_a_recipe_names(tmp_path: Path, spec: str, shown: str) -> None:
    run = play(tmp_path / "runs" / "one")
    recipe = run / "recipe.yaml"
    recipe.write_text(re.sub(r"(model|retriever): .*", rf"\1: '{spec}'", recipe.read_text()))

    with viewing(tmp_path / "runs") as viewer:
        viewer.enter()
        paths = ("/", "/run/one", "/run/one/live", "/run/one/trajectories/20", "/run/one/trajectories/20/branch?turn=0")
        pages = [viewer.get(path) for path in paths]

    assert {page.status for page in pages} == {200}
    assert all("SECRET" not in page.text for page in pages)
    assert shown in pages[1].text


@pytest.mark.parametrize(
    "path",
    [
        "/run/..%2f..%2fetc/trajectories",
        "/run/%2e%2e/trajectories",
        "/run/oracle/..%2f..%2fetc%2fpasswd/1",
        "/static/..%2f..%2findex.py",
        "/static/../index.py",
        "/run/oracle/trajectories/..%2f1",
        "//etc/passwd",
        "/run/oracle/trajectories/99999999999999999999",
        "/run/oracle/trajectories/-1",
    ],
)
def test_a_path_that_leads_elsewhere_leads_nowhere(viewer: Viewer, path: str) -> None:
    answer = viewer.get(path)

    assert answer.status == 404
    assert "root:" not in answer.text
    assert "import" not in answer.text


def test_a_run_that_a_link_leads_out_to_is_refused_and_named(runs: Path, tmp_path: Path) -> None:
    play(tmp_path / "elsewhere")
    root = tmp_path / "root"
    root.mkdir()
    (root / "sly").symlink_to(tmp_path / "elsewhere")

    with viewing(root) as viewer:
        page = viewer.enter().get("/")
        assert viewer.get("/run/sly").status == 404

    assert "leads out of" in page.text
    assert not (tmp_path / "elsewhere" / ".trajectories.index").exists()


@pytest.mark.parametrize(
    "name", ["trajectories.jsonl", "recipe.yaml", "metrics.jsonl", "summary.json", "verdicts.jsonl"]
)
def test_a_file_that_a_link_leads_out_to_is_not_read(tmp_path: Path, name: str) -> None:
    run, secret = play(tmp_path / "runs" / "one"), tmp_path / "secret"
    secret.write_text('{"settings": "HIDDEN", "step": 1, "HIDDEN": 2}\n')
    play(tmp_path / "runs" / "other")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(secret)

    with viewing(tmp_path / "runs") as viewer:
        viewer.enter()
        pages = [viewer.get(path) for path in ("/", "/run/one", "/run/one/trajectories")]

    assert all("HIDDEN" not in page.text for page in pages)
    assert [page.status for page in pages] == [200, 404, 404]
    assert "leads out of" in pages[0].text
    assert "other" in pages[0].text


def test_the_index_is_not_written_through_a_link(tmp_path: Path) -> None:
    run, target = play(tmp_path / "runs" / "one"), tmp_path / "target"
    (run / ".trajectories.index").symlink_to(target)

    with viewing(tmp_path / "runs") as viewer:
        page = viewer.enter().get("/run/one/trajectories")

    assert page.status == 404
    assert "leads out of" in page.text
    assert not target.exists()


def test_looking_writes_nothing_but_the_index(tmp_path: Path) -> None:
    run = play(tmp_path / "runs" / "one")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    with viewing(tmp_path / "runs") as viewer:
        viewer.enter()
        for path in ("/", "/run/one", "/run/one/trajectories", "/run/one/trajectories/20", "/run/one/branches"):
            viewer.get(path)

    after = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.name.removesuffix("-wal").removesuffix("-shm") for path in after - set(before)} == {
        ".trajectories.index"
    }
    assert all(path.read_bytes() == text for path, text in before.items())
    assert run.is_dir()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    """A run in which every text that comes from outside is an attack."""
    run = play(tmp_path_factory.mktemp("hostile") / "<b>bold<b>")
    last = lines_of(run)[-1]
    cites = {"cites": [HOSTILE, f"{HOSTILE}, {HOSTILE}"]}
    add(
        run,
        {**attacked(last), **cites, "id": f"{HOSTILE}:pr2:7"},
        {**attacked(last), "id": "plain:pr2:8", "data": HOSTILE},
    )
    (run / "metrics.jsonl").write_text('{"step": 1, "<script>alert(9)</script>": 2}\n')
    with viewing(run.parent) as viewer:
        yield viewer.enter()


def attacked(value: Any, key: str = "") -> Any:
    """Every text replaced, but for those that say what a thing is."""
    if isinstance(value, dict):
        return {name: attacked(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [attacked(inner, key) for inner in value]
    kept = ("author", "kind", "ended", "question_id", "data", "prompt", "agent")
    if isinstance(value, str) and key == "text":
        return value.replace("a", HOSTILE)
    return HOSTILE if isinstance(value, str) and key not in kept else value


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/run/%3Cb%3Ebold%3Cb%3E",
        "/run/%3Cb%3Ebold%3Cb%3E/trajectories?sort=row&down=1",
        "/run/%3Cb%3Ebold%3Cb%3E/trajectories?words=%3Cscript%3Ealert(1)%3C/script%3E&mark=%22%3E%3Cb%3E&question=%3Cb%3E",
        "/run/%3Cb%3Ebold%3Cb%3E/trajectories/25",
        "/run/%3Cb%3Ebold%3Cb%3E/trajectories/26",
        "/run/%3Cb%3Ebold%3Cb%3E/trajectories/25/profile",
        "/run/%3Cb%3Ebold%3Cb%3E/trajectories/25/export",
        "/%3Cscript%3Ealert(1)%3C/script%3E",
    ],
)
def test_hostile_text_is_text(hostile: Viewer, path: str) -> None:
    page = hostile.get(path).text

    markup = set(re.findall(r"<\s*([a-z]+)", page.replace("<!doctype", ""), re.IGNORECASE))
    assert "alert" in page or "bold" in page
    assert not re.search(r"<script[^>]*>[^<]*alert\(\d\)", page)
    assert not re.search(r"<[^>]*\son\w+=", page)
    assert not markup & {"img", "b>bold", "iframe", "object"}
    assert "<b>bold" not in page
    assert "5332114" not in page
    assert not set(page) & set("\u202e\u200b")


@pytest.fixture(scope="module")
def hostile_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    """A run on questions, posts and rubrics that are attacks."""
    folder = tmp_path_factory.mktemp("data")
    asked = load_questions(ORACLE.data)
    write_jsonl([poisoned(asked[number]) for number in range(4)], folder / "asked.jsonl")
    play(folder / "runs" / "one", replace(ORACLE, data=f"jsonl:{folder / 'asked.jsonl'}", judge="rubric"))
    with viewing(folder / "runs") as viewer:
        yield viewer.enter()


def poisoned(question: Question) -> Question:
    documents = (replace(post, text=post.text + HOSTILE, title=HOSTILE) for post in question.profile.documents)
    aspects = tuple(
        replace(aspect, title=aspect.title + HOSTILE, reason=HOSTILE, evidence=HOSTILE)
        for aspect in question.rubric.aspects
    )
    profile, rubric = Profile(question.user_id, tuple(documents)), replace(question.rubric, aspects=aspects)
    return replace(question, text=question.text + HOSTILE, profile=profile, rubric=rubric)


def test_hostile_posts_questions_and_rubrics_are_text_on_every_page(hostile_data: Viewer) -> None:
    at = "/run/one/trajectories/5"
    branched = hostile_data.post(f"{at}/branch", {"turn": 0, "how": "model", "text": f"<search>{HOSTILE}</search>"})
    question = re.findall(r'name="question" value="([^"]+)"', hostile_data.get("/run/one/live").text)[0]
    seat = hostile_data.post("/run/one/live", {"question": question}).headers["location"]
    for form in ({"do": "search", "text": HOSTILE}, {"do": "ask"}, {"do": "answer", "text": HOSTILE}):
        hostile_data.post(seat, form)
    made = branched.headers["location"]
    paths = (at, f"{at}/profile", f"{at}/export", f"{at}/branch?turn=0", "/run/one/live", seat, made, f"{made}/diff")

    for path in (*paths, "/run/one/trajectories", "/run/one/branches", "/compare?a=one&b=one"):
        page = hostile_data.get(path)
        assert (page.status, "alert(1)" in page.text) == (200, True), path
        assert not re.search(r"<script[^>]*>[^<]*alert\(\d\)|<img|<[^>]*\son\w+=", page.text), path
        assert not set(page.text) & set("\u202e\u200b"), path
        assert "5332114" not in page.text, path


def test_what_nobody_would_see_is_written_out(hostile: Viewer) -> None:
    page = hostile.get("/run/%3Cb%3Ebold%3Cb%3E/trajectories/25").text

    assert "⟨U+202E⟩gnp.exe⟨U+200B⟩" in page


def test_the_line_itself_is_never_taken_for_a_page(hostile: Viewer) -> None:
    answer = hostile.get("/run/%3Cb%3Ebold%3Cb%3E/trajectories/25/line")

    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_name_in_a_file_makes_no_code_run(tmp_path: Path) -> None:
    run = play(tmp_path / "runs" / "one")
    module, proof = tmp_path / "sly.py", tmp_path / "proof"
    module.write_text(f"open({str(proof)!r}, 'w')\ndef make(*_): raise SystemExit\n")
    last = lines_of(run)[-1]
    spec = f"{module}:make"
    add(run, {**last, "id": "x:sly:0", "agent": spec, "model": spec, "data": spec}, {**last, "id": "y", "agent": spec})

    with viewing(tmp_path / "runs") as viewer:
        viewer.enter()
        statuses = [viewer.get(f"/run/one/trajectories/{row}").status for row in (25, 26)]

    assert statuses == [200, 200]
    assert not proof.exists()


def test_a_branch_of_a_line_whose_agent_leads_to_code_makes_none_run(tmp_path: Path) -> None:
    run = play(tmp_path / "runs" / "one")
    module, proof = tmp_path / "sly.py", tmp_path / "proof"
    module.write_text(f"open({str(proof)!r}, 'w')\ndef make(*_): raise SystemExit\n")
    add(run, {**lines_of(run)[-1], "id": "x:sly:0", "agent": f"rpm:index={module}:make"})

    with viewing(tmp_path / "runs") as viewer:
        viewer.enter()
        branch = viewer.post(
            "/run/one/trajectories/25/branch", {"turn": "0", "how": "me", "text": "<answer>x</answer>"}
        )

    assert branch.status == 303
    assert not proof.exists()


@pytest.mark.parametrize(
    ("option", "spec"),
    [
        ("agent", "rpm:index={module}:make"),
        ("retriever", "hybrid:bm25+{module}:make"),
        ("retriever", "hybrid:bm25+{module}://localhost/make"),
        ("retriever", "hybrid:bm25+os:system,touch {proof}"),
        ("retriever", "rerank:models/mine,over={module}:make"),
        ("tools", "search_profile+mcp:touch {proof}"),
        ("model", "openai:m,base_url=http://127.0.0.1@elsewhere.example/v1"),
        ("judge", "openai:m,base_url=HTTP://elsewhere.example/v1"),
    ],
)
def test_a_recipes_spec_that_leads_to_code_a_command_or_another_machine_is_left_out(
    tmp_path: Path, option: str, spec: str
) -> None:
    run, proof, module = play(tmp_path / "runs" / "one"), tmp_path / "proof", tmp_path / "sly.py"
    module.write_text(f"open({str(proof)!r}, 'w')\ndef make(*_): raise SystemExit\n")
    spec = spec.format(module=module, proof=proof)
    recipe = run / "recipe.yaml"
    recipe.write_text(re.sub(rf"^  {option}: .*", f"  {option}: '{spec}'", recipe.read_text(), flags=re.MULTILINE))
    add(run, {**lines_of(run)[-1], "id": "x:sly:0", **({"agent": spec} if option == "agent" else {})})

    with viewing(tmp_path / "runs") as viewer:
        viewer.enter()
        paths = ("/", "/run/one/trajectories/25", "/run/one/live", "/run/one/trajectories/20/branch?turn=0")
        pages = [viewer.get(path) for path in paths]
        branch = viewer.post(
            "/run/one/trajectories/20/branch", {"turn": "0", "how": "me", "text": "<answer>x</answer>"}
        )

    assert {page.status for page in pages} == {200}
    assert branch.status == 303
    for page in pages[2:]:
        assert f"<b>{option}</b> <code>{html.escape(hidden(spec))}</code>" in page.text
    assert not proof.exists()


@pytest.mark.parametrize(
    ("registry", "spec"),
    [
        (RETRIEVERS, "hybrid:bm25+dense,context=2,dates=true,weights=2+1"),
        (RETRIEVERS, "http://localhost:8000/retrieve"),
        (RETRIEVERS, "http://127.0.0.1:8000/retrieve"),
        (RETRIEVERS, "hybrid:http://127.0.0.1:1/+bm25"),
        (RETRIEVERS, "rerank:models/mine,over=pyserini:k1=0.9,depth=20"),
        (TOOLS, "http://127.0.0.1:8000/"),
        (MODELS, "openai:qwen2.5:7b,base_url=http://localhost:11434/v1|http://127.0.0.1:1/v1"),
        (JUDGES, "openai:ft:gpt-3.5-turbo:x"),
    ],
)
def test_a_recipes_spec_of_this_machine_is_taken(registry: Registry, spec: str) -> None:
    assert is_trusted(spec, registry)


def test_a_path_with_a_dot_and_a_colon_is_no_code(tmp_path: Path) -> None:
    assert is_trusted_data(f"jsonl:{tmp_path}/a.b/c:d.jsonl")


@pytest.mark.parametrize("scheme", ["sly", "slyhttp", "runs.one.sly", "runs/one/sly.py"])
def test_a_module_that_looks_like_a_url_is_no_url(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sly.py").touch()
    (tmp_path / "slyhttp.py").touch()
    monkeypatch.syspath_prepend(tmp_path)

    assert not is_trusted(f"hybrid:bm25+{scheme}://localhost/x", RETRIEVERS)


def test_a_line_of_five_megabytes_is_shown_in_part(tmp_path: Path) -> None:
    run = play(tmp_path / "runs" / "one")
    last = lines_of(run)[-1]
    segments = [*last["segments"][:-1], {"author": "policy", "text": "<answer>" + "word " * 1_000_000 + "</answer>"}]
    add(run, {**last, "id": "long:pr2:0", "answer": "word " * 1_000_000, "segments": segments})

    with viewing(tmp_path / "runs") as viewer:
        viewer.enter()
        table = viewer.get("/run/one/trajectories?sort=row&down=1")
        page = viewer.get("/run/one/trajectories/25")
        line = viewer.get("/run/one/trajectories/25/line")

    assert (table.status, page.status, line.status) == (200, 200, 200)
    assert len(table.text) < 100_000
    assert len(page.text) < 200_000
    assert "more characters" in page.text
    assert len(line.text) > 10_000_000


@pytest.mark.parametrize(
    "line", ["null", "[]", '{"schema": 1}', '{"schema":1,"id":[],"segments":3}', "\x00", "[" * 100_000]
)
def test_a_broken_line_breaks_no_page(tmp_path: Path, line: str) -> None:
    run = play(tmp_path / "runs" / "one")
    with (run / "trajectories.jsonl").open("a") as file:
        file.write(line + "\n")

    with viewing(tmp_path / "runs") as viewer:
        viewer.enter()
        table = viewer.get("/run/one/trajectories")
        page = viewer.get("/run/one/trajectories/25")

    assert (table.status, page.status) == (200, 404)
    assert "1 lines that are not" in table.text
    assert "line 25" in page.text
