"""Stores user models: one folder per model that built them, one JSON file per user. Retrieves documents by features."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from weakref import WeakValueDictionary

from ..._util.files import write_whole
from ..._util.lru import Lru
from ...envs.question import Document, Profile
from ...envs.retrieval import Hit, Retriever, make_retriever
from ...errors import RetrievalError
from .build import AskModel, CachedCalls, build, prompt_versions
from .user_model import UserModel, read_user_model

FOLDER = "runs/rpm-models"
_MAX_MODELS, _MAX_PROFILES = 1024, 512  # kept in memory
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")  # in file names


class UserModelStore:
    """Builds a user model at the first request; concurrent requests for it wait."""

    def __init__(self, folder: str | Path = FOLDER) -> None:
        self.folder = Path(folder)
        self._latest: Lru[bytes, UserModel] = Lru(_MAX_MODELS)
        self._locks: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()

    def __reduce__(self) -> "tuple[type[UserModelStore], tuple[Path]]":
        return UserModelStore, (self.folder,)

    async def get(self, profile: Profile, by: str, ask: AskModel) -> UserModel:
        """The user model built by the model `by`; built now if it is missing or its prompts changed."""
        lock = self._locks.setdefault(self._path(profile, by), asyncio.Lock())
        async with lock:
            stored = self._stored(profile, by)
            return stored if stored and stored.prompts == prompt_versions() else await self._build(profile, by, ask)

    def find(self, profile: Profile, by: str | None = None) -> UserModel:
        """The user model last used here, else the stored one, whichever model built it."""
        latest = self._latest.get(profile.digest)
        if latest is not None and by in (None, latest.by):
            return latest
        pattern = f"{_safe(by) if by else '*'}/{_file_name(profile)}"
        builders = {path.parent.name for path in self.folder.glob(pattern)}
        if len(builders) > 1:
            names = ", ".join(sorted(builders))
            raise RetrievalError(f"user {profile.user_id!r} has models by {names}: choose one with by=…")
        stored = self._stored(profile, builders.pop()) if builders else None
        if stored is None:
            raise RetrievalError(
                f"{str(self.folder)!r} holds no model of user {profile.user_id!r} with these posts"
                + (f" by {by}" if by else "")
                + "; build it with: profilegym explain USER --data DATA --model MODEL"
            )
        return stored

    def of_user(self, user_id: str) -> list[UserModel]:
        """All models of one user, for any state of the profile."""
        found = map(read_user_model, sorted(self.folder.glob(f"*/{_safe(user_id)}-*.json")))
        return [user for user in found if user.user_id == user_id]

    def _stored(self, profile: Profile, by: str) -> UserModel | None:
        latest, path = self._latest.get(profile.digest), self._path(profile, by)
        if latest is not None and _safe(latest.by) == _safe(by):
            return latest
        if not path.exists():
            return None
        stored = read_user_model(path)
        if stored.profile != profile.digest.hex():  # names of files may meet, people may not
            return None
        self._latest.put(profile.digest, stored)
        return stored

    async def _build(self, profile: Profile, by: str, ask: AskModel) -> UserModel:
        path = self._path(profile, by)
        path.parent.mkdir(parents=True, exist_ok=True)
        calls = path.with_name(f"{_safe(profile.user_id)}.calls.jsonl")
        user = await build(profile, by, CachedCalls(calls, by, ask))
        write_whole(path, user.to_json())
        self._latest.put(profile.digest, user)
        return user

    def _path(self, profile: Profile, by: str) -> Path:
        return self.folder / _safe(by) / _file_name(profile)


class FeatureRetriever:
    """Matches a query against the features in user models, which must exist already, instead of documents' words.

    `models` is the folder of the user models, `by` the model that built them, `index` the retriever that compares the
    features' texts.
    """

    def __init__(
        self, models: str | UserModelStore = FOLDER, by: str | None = None, index: str | Retriever = "bm25"
    ) -> None:
        self._store = models if isinstance(models, UserModelStore) else UserModelStore(models)
        self._by, self._index = by, make_retriever(index)
        self._keys: Lru[tuple[str, str], Profile] = Lru(_MAX_PROFILES)  # by profile digest and builder

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        return self.search_many([(profile, query)], k)[0]

    def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[Hit]]:
        keyed = [(self._keys_of(profile) if profile.documents else profile, query) for profile, query in requests]
        found = self._index.search_many(keyed, k)
        return [
            [Hit(profile.by_id[hit.document.id], hit.score) for hit in hits]
            for (profile, _), hits in zip(requests, found, strict=True)
        ]

    def _keys_of(self, profile: Profile) -> Profile:
        """The same documents, with their features as text."""
        user = self._store.find(profile, self._by)
        keys = self._keys.get((user.profile, user.by))
        if keys is None:
            keys = Profile(profile.user_id, tuple(Document(memory.document, memory.key) for memory in user.memories))
            self._keys.put((user.profile, user.by), keys)
        return keys


def _file_name(profile: Profile) -> str:
    """The digest separates the states of one user's profile."""
    return f"{_safe(profile.user_id)}-{profile.digest.hex()}.json"


def _safe(name: str) -> str:
    return _UNSAFE.sub("-", name)
