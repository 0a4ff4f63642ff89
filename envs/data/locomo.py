"""LoCoMo: questions about two people's conversation over months, with the turns that hold the answer.

`locomo:PATH` reads the published JSON, `locomo:PATH/SPLIT` the conversations of `train`, `validation` or `test`, or one
conversation by its id; several are joined by `+`. One user a conversation; one document a turn.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import DataError, OptionError
from ..question import Document, Profile, Question, Rubric
from .fields import Fields
from .question_set import QuestionList
from .record_set import profile_of
from .records import JsonFile
from .reference import reference_rubric
from .trailing import split_trailing

CATEGORIES = {1: "1 multi-hop", 2: "2 temporal", 3: "3 open-domain", 4: "4 single-hop", 5: "5 adversarial"}
UNKNOWN = "Not mentioned in the conversation"  # the reference of an adversarial question

# By the place of a conversation in the file, so that a file with the first seven of ten has the same splits.
_SPLITS = {"train": (0, 1, 2), "validation": (3,), "test": (4,)}
_CYCLE = 5
_PUBLISHED = "github.com/snap-research/locomo, as data/locomo10.json"
_OPTIONS = ("categories", "speaker", "captions")
_SESSION = re.compile(r"session_(\d+)")
_TURN = re.compile(r"D:?\s*(\d+)\s*:\s*(\d+)")  # also as in "D:11:26"; "D8:6; D9:17" names two
_DATE = re.compile(r"(\d{1,2}):(\d\d) ([ap])m on (\d{1,2}) ([A-Z][a-z]+),? (\d{4})")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Choice:
    """What of the file is wanted."""

    splits: tuple[str, ...] = ()  # or ids of conversations; none for all
    categories: tuple[int, ...] = tuple(CATEGORIES)
    speaker: str = ""  # `a`, `b` or a name: this person's turns alone, and what is asked of them
    captions: bool = True

    def wants(self, sample: str, place: int) -> bool:
        return not self.splits or any(
            split == sample or place % _CYCLE in _SPLITS.get(split, ()) for split in self.splits
        )


def load(name: str, rest: str) -> QuestionList:
    """Read `PATH[/SPLIT][,categories=1+2+3+4][,speaker=a][,captions=no]`."""
    target, options = split_trailing(rest, _OPTIONS)
    path, choice = _split(name, target, options)
    questions: dict[str, Question] = {}
    samples: list[str] = []
    for place, record in enumerate(JsonFile(path).scan()):
        fields = Fields(record, f"{path}, record {place + 1}")
        sample = fields.identifier("sample_id")
        if sample in samples:
            raise fields.wrong("sample_id", "an id that no other conversation has")
        samples.append(sample)
        if choice.wants(sample, place):
            questions |= {question.id: question for question in _questions(fields, sample, choice)}
    unknown = [split for split in choice.splits if split not in (*_SPLITS, *samples)]
    if unknown or not questions:
        wrong = f"names the split {unknown[0]!r}, which is not there" if unknown else "holds no questions"
        known = ", ".join([*_SPLITS, *samples])
        raise DataError(f"{name}:{rest} {wrong}; the splits of {path} are {known}")
    return QuestionList(list(questions.values()), f"{name}:{rest}")


def _split(name: str, target: str, options: dict[str, str]) -> tuple[str, Choice]:
    folder, _, split = target.rpartition("/")
    path, split = (folder, split) if Path(folder).is_file() else (target, "")
    if not path:
        raise DataError(f"{name} names no file; write {name}:PATH.json or {name}:PATH.json/test")
    if not Path(path).exists():
        file = path if Path(path).suffix else folder or path
        raise DataError(f"there is no file {file}; LoCoMo is published at {_PUBLISHED}; write {name}:PATH of yours")
    captions = options.get("captions", "yes")
    if captions not in ("yes", "no"):
        raise OptionError(f"captions={captions}: give yes or no")
    categories = options.get("categories", "1+2+3+4+5").split("+")
    if not all(category in map(str, CATEGORIES) for category in categories):
        raise OptionError(f"categories={options['categories']}: give some of 1 to 5 with + between them, as 1+2+3+4")
    return path, Choice(
        splits=tuple(split.split("+")) if split else (),
        categories=tuple(map(int, categories)),
        speaker=options.get("speaker", ""),
        captions=captions == "yes",
    )


def _questions(fields: Fields, sample: str, choice: Choice) -> Iterator[Question]:
    conversation = fields.object("conversation")
    turns = _turns(conversation, choice.captions)
    own = turns
    if choice.speaker:
        speaker = conversation.text(f"speaker_{choice.speaker}") if choice.speaker in ("a", "b") else choice.speaker
        own = {name: turn for name, turn in turns.items() if turn.speaker == speaker}
    profile = profile_of(sample, list(own.values()))
    for number, asked in enumerate(fields.objects("qa"), 1):
        question = _question(asked, f"{sample}:q{number}", profile, turns)
        evidence = question.rubric.aspects[0].documents
        wanted = asked.count("category") in choice.categories
        if wanted and (not choice.speaker or (evidence and own.keys() >= set(evidence))):
            yield question


def _question(fields: Fields, question_id: str, profile: Profile, turns: dict[str, Document]) -> Question:
    category = CATEGORIES.get(fields.count("category") or 0)
    if category is None:
        raise fields.wrong("category", "a number from 1 to 5")
    return Question(
        id=question_id,
        user_id=profile.user_id,
        text=fields.filled("question"),
        profile=profile,
        rubric=_rubric(fields, category == CATEGORIES[5], turns),
        category=category,
    )


def _rubric(fields: Fields, adversarial: bool, turns: dict[str, Document]) -> Rubric:
    found, unresolved = _evidence(fields, turns)
    sessions = tuple(dict.fromkeys(turns[name].session or "" for name in found))
    if not adversarial:
        return reference_rubric(fields.scalar("answer"), "needed", found, sessions, unresolved)
    answer = fields.scalar("answer") if fields.has("answer") else UNKNOWN
    wrong = (fields.scalar("adversarial_answer"),) if fields.has("adversarial_answer") else ()
    return reference_rubric(answer, "unanswerable", found, sessions, unresolved, wrong)


def _evidence(fields: Fields, turns: dict[str, Document]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The turns that hold the evidence, and what names none: the published file has ids of turns that it lacks."""
    found, unresolved = dict[str, None](), dict[str, None]()
    for text in fields.texts("evidence"):
        named = [f"D{int(session)}:{int(turn)}" for session, turn in _TURN.findall(text)]
        for name in named or [text]:
            (found if name in turns else unresolved)[name] = None
    return tuple(found), tuple(unresolved)


def _turns(conversation: Fields, captions: bool) -> dict[str, Document]:
    """All turns in the order of their sessions, by id."""
    numbers = sorted(int(match[1]) for name in conversation.values if (match := _SESSION.fullmatch(name)))
    turns: dict[str, Document] = {}
    for number in numbers:
        date = _date(conversation, f"session_{number}_date_time")
        for item in conversation.objects(f"session_{number}"):
            turn = _turn(item, str(number), date, captions)
            if turns.setdefault(turn.id, turn) is not turn:
                raise item.wrong("dia_id", "an id that no other turn of the conversation has")
    return turns


def _turn(item: Fields, session: str, date: str | None, captions: bool) -> Document:
    named = _TURN.fullmatch(item.identifier("dia_id"))
    if named is None:
        raise item.wrong("dia_id", "the id of a turn, such as D3:14")
    turn_id = f"D{int(named[1])}:{int(named[2])}"
    turn = Document(turn_id, item.text("text"), date, speaker=item.filled("speaker"), session=session)
    caption = item.optional("blip_caption") if captions else None
    return replace(turn, text=f"{turn.text} (shares {caption})".lstrip()) if caption else turn


def _date(conversation: Fields, name: str) -> str | None:
    """`1:56 pm on 8 May, 2023` -> `2023-05-08T13:56`."""
    if not conversation.has(name):
        return None
    found = _DATE.fullmatch(conversation.text(name).strip())
    if found is None or found[5][:3] not in _MONTHS:
        raise conversation.wrong(name, "a time such as '1:56 pm on 8 May, 2023'")
    hour, minute, half, day, month, year = found.groups()
    hours = int(hour) % 12 + 12 * (half == "p")
    return f"{year}-{_MONTHS.index(month[:3]) + 1:02}-{int(day):02}T{hours:02}:{minute}"
