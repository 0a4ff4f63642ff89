"""Searching one person's history."""

from .retriever import BaseRetriever, Hit, Retriever, make_retriever, register_retriever

__all__ = ["BaseRetriever", "Hit", "Retriever", "make_retriever", "register_retriever"]
