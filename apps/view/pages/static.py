"""The look and the script of every page."""

from fastapi import APIRouter
from fastapi.responses import Response

from .. import filters as look

at = APIRouter(prefix="/static")


@at.get("/view.css")
def style() -> Response:
    return Response(look.style(), media_type="text/css")


@at.get("/view.js")
def script() -> Response:
    return Response(look.script(), media_type="text/javascript")


@at.get("/icon.svg")
def icon() -> Response:
    return Response(look.icon(), media_type="image/svg+xml")
