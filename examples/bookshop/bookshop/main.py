"""The application: `uvicorn bookshop.main:app`."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from strawberry.fastapi import GraphQLRouter

from bookshop import auth
from bookshop.database import engine
from bookshop.jobs import onward
from bookshop.schema import get_context, schema


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with onward.lifespan(app):
        yield
    await engine.dispose()


app = FastAPI(title="Bookshop", lifespan=lifespan)
app.include_router(auth.router)
app.include_router(GraphQLRouter(schema, context_getter=get_context), prefix="/graphql")
app.mount("/jobs/graphql", onward.graphql)
app.mount("/jobs", onward.pages)
