"""Searching one person's history."""

from .retriever import Hit, Retriever, make_retriever, register_retriever

__all__ = ["Hit", "Retriever", "make_retriever", "register_retriever"]
