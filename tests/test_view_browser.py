"""The viewer's pages in a real browser: what they do, how they look, and what they never do."""

import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("fastapi")
pytest.importorskip("websockets")
from browser import CHROMIUM, Page, browser
from viewing import ORACLE, Viewer, add, lines_of, play, viewing

if CHROMIUM is None:
    pytest.skip("Chromium is not installed: apt-get install chromium", allow_module_level=True)

pytestmark = pytest.mark.slow

AXE = Path(__file__).parent.parent / ".venv/axe/node_modules/axe-core/axe.min.js"
MAIN = ("/", "/run/oracle/trajectories", "/run/oracle/trajectories/{row}", "/compare?a=rag&b=oracle", "/live")
MORE = (
    "/run/oracle",
    "/run/oracle/trajectories/{row}/branch?turn=1",
    "/run/oracle/live",
    "/run/oracle/branches",
    "/run/a-run-in-stages-0",
    "/compare?a=a-run-in-stages-0~grpo~evaluations~test_unseen~untrained&b=a-run-in-stages-0~grpo~evaluations~test_unseen~trained",
    "/no",
)


class Scene(NamedTuple):
    page: Page
    viewer: Viewer
    runs: Path
    row: int  # of an episode that searched twice

    def go(self, path: str) -> None:
        if path == "/live":
            question = lines_of(self.runs / "oracle")[self.row - 1]["question_id"]
            path = self.viewer.post("/run/oracle/live", {"question": question}).headers["location"]
        self.page.go(self.viewer.address + path.format(row=self.row))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    runs = tmp_path_factory.mktemp("runs")
    staged = runs / "a-run-in-stages-0"
    for who in ("untrained", "trained"):
        play(staged / "grpo" / "evaluations" / "test_unseen" / who)
    (staged / "recipe.yaml").write_text("settings: {method: stages, stages: {sft: {}, grpo: {}}}\n")
    play(runs / "oracle")
    play(runs / "rag", replace(ORACLE, agent="rag"))
    row = next(row for row, line in enumerate(lines_of(runs / "oracle"), 1) if len(line["searches"]) >= 2)
    with ExitStack() as stack:
        viewer = stack.enter_context(viewing(runs))
        page = stack.enter_context(browser(tmp_path_factory.mktemp("chromium")))
        page.go(f"{viewer.address}/?token={viewer.token}")
        page.wait("document.querySelector('main h1').innerText === 'Runs'")
        name, value = page.cookie()
        viewer.cookie = f"{name}={value}"
        yield Scene(page, viewer, runs, row)


@pytest.fixture
def page(scene: Scene) -> Iterator[Page]:
    scene.page.look()
    scene.page.told.clear()
    yield scene.page
    assert scene.page.told == []


def shown_steps(page: Page) -> int:
    return int(page.run("[...document.querySelectorAll('.step:not(.beside)')].filter(one => !one.hidden).length"))


def test_the_link_lets_a_browser_in_and_leaves_no_token_in_its_address(scene: Scene, page: Page) -> None:
    scene.go("/")

    assert page.run("location.href") == f"{scene.viewer.address}/"
    assert page.run("document.cookie") == ""


def test_the_arrow_keys_step_through_a_trajectory(scene: Scene, page: Page) -> None:
    scene.go("/run/oracle/trajectories/{row}")
    steps = len(lines_of(scene.runs / "oracle")[scene.row - 1]["segments"])
    seen = [shown_steps(page)]
    for key in ("Home", "ArrowLeft", *["ArrowRight"] * steps, "ArrowLeft", "End"):
        page.press(key)
        seen.append(shown_steps(page))

    assert seen == [steps, 1, 1, *range(2, steps + 1), steps, steps - 1, steps]
    assert page.run("document.querySelector('output').innerText") == f"step {steps} of {steps}"


def test_arrow_keys_in_a_field_stay_there(scene: Scene, page: Page) -> None:
    scene.go("/run/oracle/trajectories/{row}")
    before = shown_steps(page)
    page.run("document.querySelector('main').append(document.createElement('input'))")
    page.run("document.querySelector('main input').focus()")

    page.press("ArrowLeft")

    assert shown_steps(page) == before


def test_every_control_is_reached_by_the_keyboard_and_shows_that_it_is(scene: Scene, page: Page) -> None:
    scene.go("/run/oracle/trajectories/{row}")
    controls = "[...document.querySelectorAll('a, button, summary, input, select')]"
    wanted = page.run(f"{controls}.filter(one => one.checkVisibility()).length")
    reached = set()
    for _ in range(2 * wanted):
        page.press("Tab")
        told = page.run(
            "(() => { const one = document.activeElement; one.dataset.n ??= Math.random();"
            " return [one.tagName, one.dataset.n, getComputedStyle(one).outlineStyle] })()"
        )
        if told[0] == "BODY":
            break
        assert told[2] != "none", told
        reached.add(told[1])

    assert len(reached) >= wanted


def test_the_profile_is_fetched_when_it_is_opened(scene: Scene, page: Page) -> None:
    scene.go("/run/oracle/trajectories/{row}")

    page.click("posts of the profile")

    page.wait("document.querySelectorAll('.posts li').length >= 40")
    document = page.run("document.querySelector('.posts li .soft').textContent.split(' ')[0]")
    page.run(
        "(() => { const box = document.querySelector('[data-filter]'); box.value = " + repr(document.upper()) + ";"
        " box.dispatchEvent(new Event('input', { bubbles: true })) })()"
    )
    assert page.run("[...document.querySelectorAll('.posts li')].filter(post => post.checkVisibility()).length") == 1
    assert page.run("document.querySelector('[data-found]').textContent").startswith("1 of ")


@pytest.mark.alone
def test_a_line_that_is_written_is_soon_on_the_screen(scene: Scene, page: Page) -> None:
    play(scene.runs / "growing")
    start = time.monotonic()
    scene.go("/run/growing/trajectories?sort=row&down=1")
    load = time.monotonic() - start
    last = lines_of(scene.runs / "growing")[-1]
    try:
        add(scene.runs / "growing", {**last, "id": "fresh:pr2:0", "answer": "Fresh from the run."})
        waited = page.wait("document.body.innerText.includes('Fresh from the run.')")
        scene.go("/")
        (scene.runs / "growing" / "metrics.jsonl").write_text('{"step": 1, "score": 0.25}\n')
        scene.go("/run/growing")
        with (scene.runs / "growing" / "metrics.jsonl").open("a") as file:
            file.write('{"step": 2, "score": 0.75}\n')
        stroke = page.run("getComputedStyle(document.querySelector('polyline')).stroke")
        drawn = page.wait("document.querySelector('figcaption b').innerText === '0.75'")
    finally:
        scene.go("/")  # a page asks for its run until it is left
        shutil.rmtree(scene.runs / "growing")

    assert waited < 2 + 5 * load  # the page asks every second, and a slow machine is slow with any page
    assert drawn < 2 + 5 * load
    assert stroke != "none"


def test_what_is_opened_stays_open_and_keeps_the_focus_when_there_is_something_new(scene: Scene, page: Page) -> None:
    inner = scene.runs / "oracle" / "evaluations" / "step-1"
    play(inner)
    scene.go("/")
    last = lines_of(inner)[-1]
    try:
        page.run("document.querySelector('details > summary').focus()")
        page.press("Enter")
        page.wait("document.querySelector('details[open] a')?.checkVisibility()")
        add(inner, {**last, "id": "fresh:pr2:0"})
        page.wait("document.querySelector('details td:last-child').innerText === '25'")
        opened = page.run("[document.querySelector('details').open, document.activeElement.tagName]")
    finally:
        shutil.rmtree(scene.runs / "oracle" / "evaluations")

    assert opened == [True, "SUMMARY"]


def test_a_game_is_played_by_keyboard_to_its_verdict(scene: Scene, page: Page) -> None:
    scene.go("/live")
    page.run("document.querySelector('input[name=text]').value = 'my music'")
    page.press("Enter")
    page.wait("document.body.innerText.includes('found for my music')")
    page.click("Let it play to the end")
    page.wait("document.body.innerText.includes('Verdict by rubric')")

    assert page.run("document.querySelector('a.button').innerText") == "Show the trajectory"


def test_a_branch_is_made_from_a_step_and_shown_beside_its_parent(scene: Scene, page: Page) -> None:
    scene.go("/run/oracle/trajectories/{row}")
    page.click("Branch from here")
    page.wait("document.querySelector('textarea')")
    page.run("document.querySelector('textarea').value = '<search>something else</search>'")
    page.click("Write this, then the model continues")
    page.wait("document.body.innerText.includes('A branch of')")
    page.click("Compare both")

    page.wait("document.querySelector('ins')?.innerText.includes('something')")


@pytest.mark.parametrize("path", [*MAIN, *MORE])
def test_nothing_is_wider_than_a_telephone(scene: Scene, page: Page, path: str) -> None:
    page.look(390, 844)
    scene.go(path)

    assert page.run("document.documentElement.scrollWidth") <= 390
    page.told.clear() if path == "/no" else None


@pytest.mark.parametrize(
    ("path", "dark"), [*((path, dark) for path in MAIN for dark in (False, True)), *((path, False) for path in MORE)]
)
def test_axe_finds_no_violation(scene: Scene, page: Page, path: str, dark: bool) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not installed: make axe")
    page.look(dark=dark)
    scene.go(path)
    page.run(f"{AXE.read_text('utf-8')}; 1")

    found = page.run(
        "axe.run().then(found => found.violations.map(one => `${one.impact} ${one.id}: ${one.nodes[0].html}`))"
    )

    assert found == []
    page.told.clear() if path == "/no" else None


def test_an_export_steps_without_a_server_and_asks_for_nothing(scene: Scene, page: Page, tmp_path: Path) -> None:
    export = scene.viewer.get(f"/run/oracle/trajectories/{scene.row}/export").text
    (tmp_path / "export.html").write_text(export, "utf-8")

    page.go(f"file://{tmp_path / 'export.html'}")
    page.press("Home")

    assert shown_steps(page) == 1
    assert page.run("performance.getEntriesByType('resource').length") == 0


def test_hostile_text_runs_nothing_and_loads_nothing(scene: Scene, page: Page) -> None:
    attack = "<script>window.hacked=1</script><img src=x onerror='window.hacked=2'><svg onload='window.hacked=3'>"
    last = lines_of(scene.runs / "oracle")[-1]
    segments = [{**segment, "text": segment["text"] + attack} for segment in last["segments"]]
    run = play(scene.runs / "hostile")
    searches = [{**search, "query": attack} for search in last["searches"]]
    add(run, {**last, "id": attack + ":pr2:0", "answer": attack, "segments": segments, "searches": searches})
    try:
        for path in ("/run/hostile/trajectories?sort=row&down=1", "/run/hostile/trajectories/25"):
            scene.go(path)
            assert "window.hacked" in page.run("document.body.innerText")
            assert page.run("window.hacked ?? null") is None
        (scene.runs / "export.html").write_text(scene.viewer.get("/run/hostile/trajectories/25/export").text, "utf-8")
        page.go(f"file://{scene.runs / 'export.html'}")
        assert page.run("window.hacked ?? null") is None
    finally:
        shutil.rmtree(run)


@pytest.mark.alone
def test_a_step_of_five_megabytes_does_not_hold_the_browser_up(scene: Scene, page: Page) -> None:
    last = lines_of(scene.runs / "oracle")[-1]
    run = play(scene.runs / "long")
    segments = [*last["segments"][:-1], {"author": "policy", "text": f"<answer>{'x' * 5_000_000}</answer>"}]
    add(run, {**last, "id": "long:pr2:0", "answer": "x" * 5_000_000, "segments": segments})

    def opening(row: str) -> float:
        start = time.monotonic()
        scene.go(f"/run/{row}")
        page.wait("document.querySelector('output').innerText")
        return time.monotonic() - start

    try:
        plain, long = (
            min(opening(row) for _ in range(3)) for row in ("oracle/trajectories/24", "long/trajectories/25")
        )
        assert long < 5 * plain
    finally:
        scene.go("/")
        shutil.rmtree(run)


def test_a_page_of_another_site_can_neither_frame_nor_read_the_viewer(scene: Scene, page: Page, tmp_path: Path) -> None:
    def other_site() -> Any:
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        class Evil(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.end_headers()
                self.wfile.write(f"<iframe src='{scene.viewer.address}/'></iframe>".encode())

            def log_message(self, *_: Any) -> None: ...

        return ThreadingHTTPServer(("127.0.0.1", 0), Evil)

    server = other_site()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        page.go(f"http://localhost:{server.server_port}/")
        read = page.run(f"fetch('{scene.viewer.address}/').then(() => 'read', () => 'refused')")
        sent = page.run(
            f"fetch('{scene.viewer.address}/run/oracle/live', {{method: 'POST', mode: 'no-cors', "
            "credentials: 'include', body: 'question=x'}).then(answer => answer.status, () => 'refused')"
        )
        framed = page.run("document.querySelector('iframe').contentDocument")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    assert (read, framed) == ("refused", None)
    assert sent in (0, "refused")
    assert not (scene.runs / "oracle" / "x").exists()
    page.told.clear()


def test_what_is_never_there_leads_back(scene: Scene, page: Page) -> None:
    scene.go("/run/nothing")

    assert "there is no run 'nothing'" in page.run("document.body.innerText")
    page.click("Back to the runs")
    page.wait("document.querySelector('h1').innerText === 'Runs'")
    page.told.clear()


def test_dates_and_numbers_read_as_people_write_them(scene: Scene, page: Page) -> None:
    scene.go("/")

    tiles = page.run("[...document.querySelectorAll('.tile b')].map(one => one.innerText)")
    assert json.dumps(tiles).count(":") >= 2
    assert not [tile for tile in tiles if len(tile) > 12]
