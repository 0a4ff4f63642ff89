"""Retrievers: search in one user's profile."""

from .retriever import BaseRetriever, Hit, Retriever, make_retriever, register_retriever

__all__ = ["BaseRetriever", "Hit", "Retriever", "make_retriever", "register_retriever"]
