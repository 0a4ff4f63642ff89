"""Lets SkyRL 0.4, which asks for Python 3.12, be imported by 3.11: pydantic takes `typing.TypedDict` from 3.12 on."""

import typing

import typing_extensions

typing.TypedDict = typing_extensions.TypedDict
