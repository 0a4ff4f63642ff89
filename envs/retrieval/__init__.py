"""Searching one person's history."""

from .retriever import Hit, OneByOne, Retriever, make_retriever, register_retriever

__all__ = ["Hit", "OneByOne", "Retriever", "make_retriever", "register_retriever"]
