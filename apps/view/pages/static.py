"""Style sheet, script and icon."""

from fastapi import APIRouter
from fastapi.responses import Response

from .. import filters as filters

router = APIRouter(prefix="/static")


@router.get("/view.css")
def style() -> Response:
    return Response(filters.style(), media_type="text/css")


@router.get("/view.js")
def script() -> Response:
    return Response(filters.script(), media_type="text/javascript")


@router.get("/icon.svg")
def icon() -> Response:
    return Response(filters.icon(), media_type="image/svg+xml")
