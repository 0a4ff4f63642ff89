"""How the items of a profile become documents, where each task names its fields differently."""

from dataclasses import dataclass

from ..question import Document
from .fields import Fields


@dataclass(frozen=True, slots=True)
class Layout:
    """The fields of an item: the one that holds its text, the one that holds its title, those that add a line.

    `("score", "Rating: {} of 5")` puts the line `Rating: 4 of 5` below the text.
    """

    text: str
    title: str | None = None
    lines: tuple[tuple[str, str], ...] = ()

    def document(self, item: Fields, number: int) -> Document:
        text = "\n".join([item.text(self.text), *(line.format(item.scalar(field)) for field, line in self.lines)])
        item_id = item.identifier() if item.has("id") else f"d{number}"
        return Document(item_id, text, item.date(), item.optional(self.title) if self.title else None)

    def documents(self, record: Fields) -> list[Document]:
        return [self.document(item, number) for number, item in enumerate(record.objects("profile"), 1)]
