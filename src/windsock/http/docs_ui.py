"""The API's reference as a page: Swagger UI from an installed package, nothing from elsewhere."""

from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Request, Response

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Windsock: API reference</title>
<link rel="icon" href="{root}/docs/favicon.png">
<script src="{prefix}/static/theme.js"></script>
<link rel="stylesheet" href="{root}/docs/swagger-ui.css">
</head>
<body>
<header><a href="{prefix}/">Windsock</a></header>
<div id="reference"></div>
<noscript>This page needs JavaScript. It shows <a href="{root}/openapi.json">openapi.json</a>.</noscript>
<script src="{root}/docs/swagger-ui-bundle.js"></script>
<script src="{root}/docs/start.js"></script>
</body>
</html>
"""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

router = APIRouter(include_in_schema=False)


@cache
def _asset(name: str) -> bytes:
    return files("fastapi_swagger").joinpath("resources", name).read_bytes()


def _asset_response(body: bytes | str, media_type: str, seconds: int) -> Response:
    headers = {
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": f"public, max-age={seconds}",
    }
    return Response(body, headers=headers, media_type=media_type)


@router.get("/docs", summary="The reference as a page")
async def get_reference(request: Request) -> Response:
    prefix = request.scope.get("root_path", "")
    page = PAGE.replace("{root}", f"{prefix}/api/v1.0").replace("{prefix}", prefix)
    return _asset_response(page, "text/html", 300)


@router.get("/docs/start.js", summary="Starts the page")
async def get_init_js() -> Response:
    return _asset_response(files(__package__).joinpath("reference.js").read_bytes(), "text/javascript", 300)


@router.get("/docs/swagger-ui.css", summary="The page's style")
async def get_style() -> Response:
    """Swagger UI's own style, then what it lacks: contrast, dark mode, and room on a phone."""
    own = files(__package__).joinpath("reference.css").read_bytes()
    return _asset_response(_asset("swagger-ui.css") + own, "text/css", 3_600)


@router.get("/docs/swagger-ui-bundle.js", summary="The page's program")
async def get_bundle_js() -> Response:
    return _asset_response(_asset("swagger-ui-bundle.js"), "text/javascript", 86_400)


@router.get("/docs/favicon.png", summary="The page's icon")
async def get_icon() -> Response:
    return _asset_response(_asset("favicon-32x32.png"), "image/png", 86_400)
