"""Where users' models are kept: a folder for each model that made them, a readable file for each user."""

import asyncio
import re
from pathlib import Path
from weakref import WeakValueDictionary

from ..._util.files import write_whole
from ..._util.lru import Lru
from ...envs.question import Profile
from ...errors import RetrievalError
from .building import build, prompts
from .calls import Ask, Calls
from .user_model import UserModel, read_user_model

FOLDER = "runs/rpm-models"
_IN_MEMORY = 1024  # users
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


class Library:
    """Makes a user's model when it is first wanted; whoever wants it meanwhile waits."""

    def __init__(self, folder: str | Path = FOLDER) -> None:
        self.folder = Path(folder)
        self._latest: Lru[bytes, UserModel] = Lru(_IN_MEMORY)
        self._making: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()

    def __reduce__(self) -> "tuple[type[Library], tuple[Path]]":
        return Library, (self.folder,)

    async def get(self, profile: Profile, by: str, ask: Ask) -> UserModel:
        """The one that the model `by` made, or makes now."""
        path = self._path(profile, by)
        lock = self._making.setdefault(path, asyncio.Lock())
        async with lock:
            kept = self._kept(profile, by)
            return kept if kept and kept.prompts == prompts() else await self._make(profile, by, ask)

    def find(self, profile: Profile, by: str | None = None) -> UserModel:
        """The one last used here, else the one that is there, whoever made it."""
        latest, stem = self._latest.get(profile.digest), _stem(profile)
        if latest is not None and by in (None, latest.by):
            return latest
        makers = {path.parent.name for path in self.folder.glob(f"{_named(by) if by else '*'}/{stem}.json")}
        if len(makers) > 1:
            raise RetrievalError(f"user {profile.user_id!r} has models by {', '.join(sorted(makers))}: name one, by=…")
        if not makers:
            raise RetrievalError(
                f"{str(self.folder)!r} holds no model of user {profile.user_id!r} with these posts"
                + (f" by {by}" if by else "")
                + "; make it with: profilegym explain USER --data DATA --model MODEL"
            )
        maker = makers.pop()
        kept = self._kept(profile, maker)
        assert kept is not None
        return kept

    def of_user(self, user_id: str) -> list[UserModel]:
        """All of one person, whatever posts they were made from."""
        found = map(read_user_model, sorted(self.folder.glob(f"*/{_UNFIT.sub('-', user_id)}-*.json")))
        return [user for user in found if user.user_id == user_id]

    def _kept(self, profile: Profile, by: str) -> UserModel | None:
        latest, path = self._latest.get(profile.digest), self._path(profile, by)
        if latest is not None and _named(latest.by) == _named(by):
            return latest
        if not path.exists():
            return None
        kept = read_user_model(path)
        self._latest.put(profile.digest, kept)
        return kept

    async def _make(self, profile: Profile, by: str, ask: Ask) -> UserModel:
        path = self._path(profile, by)
        path.parent.mkdir(parents=True, exist_ok=True)
        calls = path.with_name(f"{_UNFIT.sub('-', profile.user_id)}.calls.jsonl")
        made = await build(profile, by, Calls(calls, by, ask))
        write_whole(path, made.to_json())
        self._latest.put(profile.digest, made)
        return made

    def _path(self, profile: Profile, by: str) -> Path:
        return self.folder / _named(by) / f"{_stem(profile)}.json"


def _stem(profile: Profile) -> str:
    """The digest tells apart what one person had written at different times."""
    return f"{_UNFIT.sub('-', profile.user_id)}-{profile.digest.hex()[:8]}"


def _named(by: str) -> str:
    return _UNFIT.sub("-", by)
