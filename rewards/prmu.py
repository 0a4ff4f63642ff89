"""TagPR's PRMU, as far as published: a reward model with an embedding of the user.

The paper names a learned user embedding beside the response; its construction here is ours.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from .._util.lru import Lru
from ..envs.episode import Episode
from ..envs.question import Document, Question
from ..envs.text import clean
from ..errors import MissingExtra, RewardError
from .reward_model import LENGTH, score_each

_SHARP = 10.0  # sharpness of the attention over posts
_REMEMBERED = 1024  # profiles with cached tokens
_PERSON, _KNOWN = "person.safetensors", "people.json"


class PRMU:
    """An encoder of question and answer, and a user embedding: attention over the user's posts.

    A known user's learned vector is added; for an unknown user the posts alone are used.
    """

    def __init__(self, encoder: Any, tokenizer: Any, known: Sequence[str]) -> None:
        import torch
        from torch import nn

        width = encoder.config.hidden_size
        head = nn.Sequential(nn.Linear(3 * width + 1, width), nn.GELU(), nn.Linear(width, 1))
        person = {"own": nn.Embedding(len(known), width), "posts": nn.Linear(width, width), "head": head}
        self.module = nn.ModuleDict({"encoder": encoder, "person": nn.ModuleDict(person)})
        self.tokenizer, self.known = tokenizer, {user: row for row, user in enumerate(known)}
        self._posts: Lru[bytes, tuple[Any, Any]] = Lru(_REMEMBERED)
        torch.nn.init.zeros_(person["own"].weight)  # an unknown user has no vector

    @classmethod
    def load(cls, folder: str) -> Self:
        """Load a folder that `profilegym train` wrote by a recipe with `kind: prmu`."""
        try:
            from safetensors.torch import load_file
            from transformers import AutoModel, AutoTokenizer
        except ImportError as error:
            raise MissingExtra("a reward model", "train") from error
        if not (Path(folder) / _PERSON).is_file():
            raise RewardError(f"no PRMU in {folder!r}: train one with profilegym train reward-model-world kind=prmu")
        known = json.loads((Path(folder) / _KNOWN).read_text("utf-8"))
        model = cls(AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder), known)
        model.module["person"].load_state_dict(load_file(Path(folder) / _PERSON))
        return model

    def __call__(self, episodes: Sequence[Episode]) -> list[float]:
        """A missing answer counts as an empty one."""
        return score_each(self, episodes)

    def scores(self, judged: Sequence[tuple[Question, str]]) -> Any:
        """A tensor of one score per pair, with gradient."""
        import torch

        read = self.tokenizer(
            [clean(question.text) for question, _ in judged],
            [clean(answer) for _, answer in judged],
            truncation=True, max_length=LENGTH, padding=True, return_tensors="pt",
        )  # fmt: skip
        part = self.module["person"]
        said = self.module["encoder"](**read).last_hidden_state[:, 0]
        close, person = self._person(judged)
        scores: Any = part["head"](torch.cat([said, person, said * person, close], 1))
        return scores[:, 0].float()

    def save(self, folder: Path) -> None:
        from safetensors.torch import save_file

        self.module["encoder"].save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        save_file(self.module["person"].state_dict(), folder / _PERSON)
        (folder / _KNOWN).write_text(json.dumps(list(self.known)) + "\n", "utf-8")

    def _person(self, judged: Sequence[tuple[Question, str]]) -> tuple[Any, Any]:
        """The similarity of the posts to question and answer, and the user embedding."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        part = self.module["person"]
        asked = self._words([clean(f"{question.text} {answer}") for question, answer in judged])
        each = {question.profile.digest: self._posts_of(question) for question, _ in judged}
        places = {digest: place for place, digest in enumerate(each)}
        rows = [places[question.profile.digest] for question, _ in judged]
        means = [self._mean(*one) for one in each.values()]
        posts = pad_sequence(means, batch_first=True)[rows]
        there = pad_sequence([torch.ones(len(one), dtype=torch.bool) for one in means], batch_first=True)[rows]
        likeness = (posts @ asked[:, :, None])[:, :, 0]
        weights = (_SHARP * likeness).masked_fill(~there, -torch.inf).softmax(1)
        close = (weights * likeness).sum(1, keepdim=True)
        return close, part["posts"]((weights[:, :, None] * posts).sum(1)) + self._own(judged)

    def _own(self, judged: Sequence[tuple[Question, str]]) -> Any:
        import torch

        rows = torch.tensor([self.known.get(question.user_id, -1) for question, _ in judged])
        known = (rows >= 0).float()
        if self.module.training:  # dropout of the user's vector, so that the posts are used
            known = known * (torch.rand(len(known)) < 0.5)
        return known[:, None] * self.module["person"]["own"](rows.clamp(min=0))

    def _posts_of(self, question: Question) -> tuple[Any, Any]:
        """The tokens of all posts; an empty profile counts as one empty post."""
        profile = question.profile
        found = self._posts.get(profile.digest)
        if found is None:
            found = self._tokens([_text(document) for document in profile.documents] or [""])
            self._posts.put(profile.digest, found)
        return found

    def _words(self, texts: Sequence[str]) -> Any:
        return self._mean(*self._tokens(texts))

    def _tokens(self, texts: Sequence[str]) -> tuple[Any, Any]:
        """All tokens in one row, and the start of each text."""
        import torch

        read = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        read = [one or [self.tokenizer.pad_token_id] for one in read]
        starts = torch.tensor([0, *(len(one) for one in read[:-1])]).cumsum(0)
        return torch.tensor([token for one in read for token in one]), starts

    def _mean(self, tokens: Any, starts: Any) -> Any:
        """The normalised mean of the word vectors of each text."""
        from torch.nn.functional import embedding_bag, normalize

        words = self.module["encoder"].get_input_embeddings().weight
        return normalize(embedding_bag(tokens, words, starts), dim=1)


def _text(document: Document) -> str:
    """What a policy sees of it, but for the date, which tells nothing of the person."""
    return clean(replace(document, date=None).head + document.text)


load = PRMU.load
