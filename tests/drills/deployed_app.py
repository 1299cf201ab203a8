"""A FastAPI application as its documentation says, of which one version takes the place of another.

``NAME``, ``PORT``, ``SEEDS`` and ``VERSION`` are in its environment; uvicorn runs it.
"""

from __future__ import annotations

import asyncio
import os

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from gossipreg import Config
from gossipreg.embed.asyncio import lifespan

config = Config(name=os.environ["NAME"], bind="127.0.0.1:0", join=os.environ["SEEDS"].split())
app = FastAPI(lifespan=lifespan(config, "orders", port=int(os.environ["PORT"])))


@app.get("/", response_class=PlainTextResponse)
async def answer() -> str:
    await asyncio.sleep(0.01)  # as if it asked a database: requests are under way at any time
    return os.environ["VERSION"]
