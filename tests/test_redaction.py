"""What an export without the profile's text withholds."""

import pytest

from profilegym import Document, Profile
from profilegym.apps.view.redaction import WITHHELD, redacted
from profilegym.envs.trajectory import Trajectory


def told(post: str, answer: str) -> str:
    """An answer to a user with this one post, as it is exported."""
    trajectory = Trajectory(
        "q:pr2:0", "q", "ann", "personalised", segment_fields=["policy", answer, None, None], search_fields=(),
        answer=answer, ended="answered",
    )  # fmt: skip
    exported = redacted(trajectory, Profile("ann", (Document("1", post),)))
    assert exported.segments[0].text == exported.answer
    return str(exported.answer)


@pytest.mark.parametrize(
    ("post", "answer", "secret"),
    [
        ("我姐姐住在上海浦东新区张江路八十八号她喜欢喝茶", "好的，她住在上海浦东新区张江路八十八号。", "张江路"),
        ("妹は東京の浅草に住んでいてネコが二匹います", "浅草に住んでいて、ネコが二匹です。", "ネコが二匹"),
        ("น้องสาวของฉันอาศัยอยู่ที่เชียงใหม่กับแมวสองตัว", "เธออาศัยอยู่ที่เชียงใหม่ครับ", "เชียงใหม่"),
        ("خواهرم در شیراز با دو گربه زندگی می‌کند", "او در شیراز با دو گربه است.", "با دو گربه"),
        ("My sister lives at 88 Harbour Road with two cats", "She lives at 88 Harbour Road, I think.", "Harbour Road"),
    ],
)
def test_what_repeats_a_post_is_withheld_in_any_script(post: str, answer: str, secret: str) -> None:
    shown = told(post, answer)

    assert WITHHELD in shown
    assert secret not in shown


def test_what_no_post_says_is_kept() -> None:
    assert told("我姐姐住在上海浦东新区", "请多喝水，早点休息。") == "请多喝水，早点休息。"
    assert told("My sister lives at 88 Harbour Road", "Drink more water.") == "Drink more water."
