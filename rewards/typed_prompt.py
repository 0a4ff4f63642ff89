"""Judge prompts by the type of the question, answered with yes or no, as LongMemEval's evaluator does."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .._util.prompts import version_of
from ..envs.question import Aspect, Question
from ..envs.text import after_thinking
from ..errors import OptionError
from .judge_prompts import AspectPrompt, Opinion, Unreadable, shortened

BUILTIN = Path(__file__).parent / "prompts"
LONGMEMEVAL = "longmemeval"
DEFAULT, ABSTENTION = "default", "abstention"
_YES_OR_NO = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TypedPrompt:
    """A text by question type; `abstention` where the question cannot be answered, `default` for other types."""

    texts: Mapping[str, AspectPrompt]
    version: str
    system: None = None

    @classmethod
    def load(cls, folder: str | Path, *, cut: bool = True) -> "TypedPrompt":
        """From a folder of files `TYPE.txt`; the name `longmemeval` is that of the folder which the package has."""
        path = BUILTIN / LONGMEMEVAL if str(folder) == LONGMEMEVAL else Path(folder)
        texts = {
            file.stem: AspectPrompt.load(file, needs=("response",), cut=cut) for file in sorted(path.glob("*.txt"))
        }
        if missing := sorted({DEFAULT, ABSTENTION} - texts.keys()):
            raise OptionError(f"prompt={str(folder)!r} lacks {', '.join(f'{name}.txt' for name in missing)}")
        return cls(texts, f"{path.name}-{version_of(repr([text.version for text in texts.values()]))}")

    def messages(self, question: Question, answer: str, aspect: Aspect) -> list[dict[str, str]]:
        return self._text_for(question).messages(question, answer, aspect)

    def read(self, reply: str) -> Opinion:
        """`yes` is a match of 2, `no` of 0, at the beginning of the reply."""
        found = _YES_OR_NO.match(after_thinking(reply))
        if found is None:
            raise Unreadable(f"neither yes nor no at the beginning of the reply: {shortened(reply)!r}")
        return Opinion(2 if found[1].lower() == "yes" else 0, "")

    def _text_for(self, question: Question) -> AspectPrompt:
        if question.rubric.history == "unanswerable":
            return self.texts[ABSTENTION]
        return self.texts.get(question.category or DEFAULT, self.texts[DEFAULT])


def is_typed(prompt: str) -> bool:
    """Whether a judge's option `prompt` names a folder of prompts rather than a file."""
    return not Path(prompt).is_file() and (prompt == LONGMEMEVAL or Path(prompt).is_dir())
