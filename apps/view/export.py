"""One trajectory as a self-contained HTML page."""

from base64 import b64encode
from hashlib import sha256
from typing import Any

from markupsafe import Markup

from . import filters as filters
from .details import Details


def exported(details: Details) -> dict[str, Any]:
    """Template values of an export. Its security policy allows only its own script, by hash."""
    style, script = filters.style(), filters.script()
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'"
    own = {"policy": policy, "style": Markup(style), "script": Markup(script)}  # noqa: S704 (files of ours)
    return {**about(details), **own, "withheld": details.withheld}


def about(details: Details) -> dict[str, Any]:
    """Template values that a page and an export share."""
    question = details.question
    return {
        "t": details.trajectory,
        "question_text": question.text if question else None,
        "hops": question.rubric.hops if question else None,
        "problem": details.problem,
        "pairs": details.pairs,
        "has_baseline": details.baseline is not None,
        "score": details.score,
        "baseline_score": details.baseline_score,
        "gain": details.gain,
        "aspects": details.aspects,
        "later": details.later,
        "marks": details.marks,
        "learns": details.learns,
        "posts": len(question.profile) if question else None,
    }


def file_name(details: Details) -> str:
    """Of ASCII letters, digits, hyphens and underscores."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in details.trajectory.id)
    return f"{plain[:80]}.html"


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
