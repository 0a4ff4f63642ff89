"""One trajectory as a page that needs nothing else: to send to a colleague, or to keep."""

from base64 import b64encode
from hashlib import sha256
from typing import Any

from markupsafe import Markup

from . import filters as look
from .reading import Reading


def exported(reading: Reading) -> dict[str, Any]:
    """What the template of an export takes. Nothing runs in it but the script that its policy names by hash."""
    style, script = look.style(), look.script()
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'"
    own = {"policy": policy, "style": Markup(style), "script": Markup(script)}  # noqa: S704 (files of ours)
    return {**about(reading), **own, "withheld": reading.withheld}


def about(reading: Reading) -> dict[str, Any]:
    """What a page or an export shows of a trajectory."""
    question = reading.question
    return {
        "t": reading.trajectory,
        "question_text": question.text if question else None,
        "hops": question.rubric.hops if question else None,
        "problem": reading.problem,
        "pairs": reading.pairs,
        "has_baseline": reading.baseline is not None,
        "score": reading.score,
        "baseline_score": reading.baseline_score,
        "gain": reading.gain,
        "aspects": reading.aspects,
        "later": reading.later,
        "marks": reading.marks,
        "learns": reading.learns,
        "posts": len(question.profile) if question else None,
    }


def file_name(reading: Reading) -> str:
    """Of nothing but letters that every system takes."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in reading.trajectory.id)
    return f"{plain[:80]}.html"


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
