"""Data sets, one file each, behind `load_questions`."""

from .loading import load_questions, register_data
from .question_set import QuestionList, QuestionSet

__all__ = ["QuestionList", "QuestionSet", "load_questions", "register_data"]
