"""Makes the pictures of docs/screenshots: the viewer's main pages, wide and narrow, light and dark.

make screenshots
"""

import itertools
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from browser import Page, browser  # noqa: E402
from viewing import ORACLE, Viewer, lines_of, play, viewing  # noqa: E402

OUT = ROOT / "docs/screenshots"
SIZES = {"wide": (1280, 800), "narrow": (390, 844)}
SETTINGS = replace(ORACLE, data="world:seed=7/test", limit=120)


def main() -> None:
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        play(runs / "rag", replace(SETTINGS, agent="rag"))
        play(runs / "oracle", SETTINGS)
        with viewing(runs) as viewer, browser(Path(folder) / "chromium") as page:
            page.go(f"{viewer.address}/?token={viewer.token}")
            page.wait("document.querySelector('main h1').innerText === 'Runs'")
            viewer.cookie = "=".join(page.cookie())
            for name, path in pages(viewer, runs).items():
                for (width, size), dark in itertools.product(SIZES.items(), (False, True)):
                    page.look(*size, dark=dark)
                    take(page, viewer.address + path, f"{name}-{width}-{'dark' if dark else 'light'}")


def pages(viewer: Viewer, runs: Path) -> dict[str, str]:
    lines = lines_of(runs / "oracle")
    row = next(row for row, line in enumerate(lines, 1) if len(line["searches"]) == 2)
    game = viewer.post("/run/oracle/live", {"question": lines[row - 1]["question_id"]}).headers["location"]
    viewer.post(game, {"do": "search", "text": lines[row - 1]["searches"][0]["query"]})
    viewer.post(game, {"do": "ask"})
    return {
        "runs": "/",
        "trajectories": "/run/rag/trajectories?kind=personalised&sort=gain",
        "trajectory": f"/run/oracle/trajectories/{row}",
        "compare": "/compare?a=rag&b=oracle",
        "play": game,
    }


def take(page: Page, address: str, name: str) -> None:
    page.go(address)
    picture = page.picture()
    (OUT / f"{name}.png").write_bytes(picture)
    print(f"{name}.png, {len(picture) / 1e3:.0f} kB")


main()
