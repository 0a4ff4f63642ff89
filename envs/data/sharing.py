"""Questions that the environments of a vector share, for as long as loading them again would give the same."""

from pathlib import Path
from weakref import WeakValueDictionary

from .loading import load_questions, loader_of
from .question_set import QuestionSet
from .records import FileState, opened_files, state_of

_shared: WeakValueDictionary[str, QuestionSet] = WeakValueDictionary()  # by spec, while an environment has them
_origins: dict[str, tuple[object, dict[Path, FileState]]] = {}  # who loaded them, and from what files


def shared_questions(spec: str) -> QuestionSet:
    """As `load_questions`, but not again while the last ones are in use and neither their loader nor a file changed."""
    questions, loader = _shared.get(spec), loader_of(spec)
    if questions is None or _changed(spec, loader):
        with opened_files() as files:
            questions = load_questions(spec)
        _shared[spec], _origins[spec] = questions, (loader, files)
    return questions


def _changed(spec: str, loader: object) -> bool:
    before, files = _origins[spec]
    return loader != before or any(state_of(path) != state for path, state in files.items())
