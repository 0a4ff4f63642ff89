"""Made-up people and queries that a retriever is examined with."""

import random
from dataclasses import replace

from ..envs.question import Document, Profile

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
    """The same person for the same name; each document has two words of its own. Ids sort in no order of time."""
    rng = random.Random(user)
    return Profile(
        user, tuple(Document(_id(ids or user, place), _sentence(rng, user, place)) for place in range(documents))
    )


def queries(profile: Profile) -> list[str]:
    """One word, two words, and a whole document of the profile."""
    some = profile.documents[len(profile) // 2].text
    return [_WORDS[len(profile.user_id) % len(_WORDS)], " ".join(some.split()[-2:]), some]


def namesake(profile: Profile, user: str) -> Profile:
    """Another user who wrote the same texts, under ids of their own."""
    return Profile(user, tuple(replace(d, id=_id(user, place)) for place, d in enumerate(profile.documents)))


def repeated(profile: Profile) -> Profile:
    """The same user, who wrote everything twice."""
    documents = enumerate((*profile.documents, *profile.documents))
    return Profile(profile.user_id, tuple(replace(d, id=_id(profile.user_id, place)) for place, d in documents))


def oddity() -> Profile:
    """Documents that data sets do contain."""
    texts = ("", " \n", "tea " * 25_000, "tea\x00\x1b[0m\u202e", "half a pair \ud83d of tea", "茶 🍵 चाय شاي", "tea")
    return Profile("odd", tuple(Document(_id("odd", place), text) for place, text in enumerate(texts)))


def _id(user: str, place: int) -> str:
    """Neither as strings nor as numbers do ids sort as the documents do, nor the other way round."""
    return f"{user}-{(place * 617 + 311) % 1000}"


def _sentence(rng: random.Random, user: str, place: int) -> str:
    words = rng.sample(_WORDS, rng.randint(3, 7))
    own = [f"{syllable}{place}{sum(map(ord, user)) % 97}" for syllable in ("zu", "ka")]
    return f"{rng.choice(_PHRASES).format(' and '.join(words))} {' '.join(own)}"
