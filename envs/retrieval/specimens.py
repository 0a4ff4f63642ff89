"""Made-up people and queries that a retriever is examined with."""

import random
from dataclasses import replace

from ..question import Document, Profile

_WORDS = (
    *("garden", "tea", "bicycle", "river", "soup", "chess", "violin", "winter", "market", "lamp", "novel", "train"),
    *("bakery", "forest", "camera", "kitchen", "letter", "harbour", "piano", "museum", "sweater", "pottery", "quilt"),
)
_PHRASES = ("I spent the evening with {}", "my neighbour asked me about {}", "never again {}", "thinking of {} today")

STRANGE_QUERIES = {
    "non-Latin": (
        "any script",
        ("我的狗不能吃鸡肉", "ما الذي أطبخه يوم الاثنين", "Тёплый чай", "मेरा बगीचा", "cafe\u0301", "🧑‍🍳🍵"),
    ),
    "control character": (
        "control characters",
        ("\x00", "tea\x00garden", "\x1b[31mtea\x07\r\n", "\u202etea\u200b\ufeff\x7f"),
    ),
    "lone surrogate": ("a lone surrogate, half of a character", ("\ud83d", "tea \udfff garden")),
    "operator": (
        "what looks like search syntax",
        ('"tea', "tea AND (garden OR", "[* TO *] title:tea~2^5 +a -b !c", "tea* \\", "%' OR 1=1 --"),
    ),
    "huge": ("100,000 characters", ("tea garden " * 9_091, "x" * 100_000)),
}


def person(user: str, documents: int = 12, *, ids: str = "") -> Profile:
    """The same person for the same name; each document has two words of its own. Ids sort in document order."""
    rng = random.Random(user)
    return Profile(
        user, tuple(Document(f"{ids or user}-{place:03}", _sentence(rng, user, place)) for place in range(documents))
    )


def queries(profile: Profile) -> list[str]:
    """One word, two words, and a whole document of the profile."""
    some = profile.documents[len(profile) // 2].text
    return [_WORDS[len(profile.user_id) % len(_WORDS)], " ".join(some.split()[-2:]), some]


def namesake(profile: Profile, user: str) -> Profile:
    """Another user who wrote the same texts, under ids of their own."""
    return Profile(user, tuple(replace(d, id=f"{user}-{place:03}") for place, d in enumerate(profile.documents)))


def oddity() -> Profile:
    """Documents that data sets do contain."""
    texts = ("", " \n", "tea " * 25_000, "tea\x00\x1b[0m\u202e", "half a pair \ud83d of tea", "茶 🍵 चाय شاي", "tea")
    return Profile("odd", tuple(Document(f"odd-{place:03}", text) for place, text in enumerate(texts)))


def _sentence(rng: random.Random, user: str, place: int) -> str:
    words = rng.sample(_WORDS, rng.randint(3, 7))
    own = [f"{syllable}{place}{sum(map(ord, user)) % 97}" for syllable in ("zu", "ka")]
    return f"{rng.choice(_PHRASES).format(' and '.join(words))} {' '.join(own)}"
