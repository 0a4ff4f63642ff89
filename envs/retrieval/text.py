"""Which text of a document is searched, and text that no tokenizer or server chokes on."""

from ..question import Document


def searchable_text(document: Document) -> str:
    """The title, where there is one, then the text."""
    return f"{document.title} {document.text}" if document.title else document.text


def well_formed(text: str) -> str:
    """The same text with lone surrogates, which have no UTF-8 form, replaced by U+FFFD."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
