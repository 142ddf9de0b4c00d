# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The MCP tools of mcp-hr, and its place in the common frame."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any

from common.admission import Health
from common.identity import IdentityError, User, user_of
from common.secret_file import SecretFile
from common.server import Service
from common.settings import Settings
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from psycopg.sql import SQL, Composed
from pydantic import BaseModel, Field
from starlette.types import ASGIApp

from mcp_hr.database import Database, DatabaseAddress, DatabaseUnavailableError

__all__ = ["Employee", "HrService", "Person"]

READ_ONLY = ToolAnnotations(read_only_hint=True, open_world_hint=False)
MAX_ROWS = 200


class Employee(BaseModel):
    """A row of ``hr.employees`` that the user may see."""

    id: int
    user_id: str
    name: str
    email: str
    department: str
    title: str
    manager_id: str | None
    salary: float | None
    hired_on: date | None


class Person(BaseModel):
    """For whom the server works in this request."""

    user_id: str
    roles: list[str]
    visible_employees: int


_SELECT = SQL(
    "SELECT id, user_id, name, email, department, title, manager_id, salary::float8 AS salary,"
    " hired_on FROM hr.employees"
)


class HrService(Service):
    """Answers with what PostgreSQL shows the user: there is no second filter in this code."""

    def __init__(self, settings: Settings, secrets: SecretFile) -> None:
        secrets.required = frozenset({"POSTGRES_USER", "POSTGRES_PASSWORD"})
        super().__init__(settings, secrets)
        self.database = Database(DatabaseAddress.read(os.environ), secrets, settings.name)
        self._app = self._tools().streamable_http_app(
            host=settings.host, stateless_http=True, json_response=True
        )

    @property
    def app(self) -> ASGIApp:
        return self._app

    async def start(self) -> None:
        await self.database.open()

    async def reload(self) -> None:
        await self.database.renew()

    async def stop(self) -> None:
        await self.database.close()

    async def health(self) -> Health:
        problem = await self.database.problem()
        return Health(not problem, {"database": problem or "ok"})

    def _tools(self) -> MCPServer[Any]:
        server: MCPServer[Any] = MCPServer(
            "mcp-hr", instructions="Employees of the company, as far as the user may see them."
        )

        @server.tool(annotations=READ_ONLY)
        async def whoami(ctx: Context[Any, Any]) -> Person:
            """Say for whom this request is made and how many employees that user may see."""
            user = _user(ctx)
            rows = await self._rows(user, SQL("SELECT count(*) AS n FROM hr.employees"))
            return Person(user_id=user.id, roles=list(user.roles), visible_employees=rows[0]["n"])

        @server.tool(annotations=READ_ONLY)
        async def list_employees(
            ctx: Context[Any, Any],
            department: Annotated[str | None, Field(description="Only this department")] = None,
            limit: Annotated[int, Field(ge=1, le=MAX_ROWS)] = 50,
        ) -> list[Employee]:
            """List the employees that the user may see, ordered by id."""
            where = SQL(" WHERE department = %(department)s") if department else SQL("")
            query = _SELECT + where + SQL(" ORDER BY id LIMIT %(limit)s")
            rows = await self._rows(_user(ctx), query, department=department, limit=limit)
            return [Employee.model_validate(row) for row in rows]

        @server.tool(annotations=READ_ONLY)
        async def get_employee(ctx: Context[Any, Any], employee_id: int) -> Employee:
            """Read one employee; one that the user may not see does not exist."""
            query = _SELECT + SQL(" WHERE id = %(id)s")
            rows = await self._rows(_user(ctx), query, id=employee_id)
            if not rows:
                raise ToolError(f"there is no employee {employee_id}")
            return Employee.model_validate(rows[0])

        return server

    async def _rows(
        self, user: User, query: SQL | Composed, **values: object
    ) -> Sequence[dict[str, Any]]:
        try:
            async with self.database.as_user(user) as connection:
                return await (await connection.execute(query, values)).fetchall()
        except DatabaseUnavailableError:
            raise ToolError("the database is not available") from None


def _user(ctx: Context[Any, Any]) -> User:
    request = ctx.request_context.request
    try:
        return user_of(request.headers if request is not None else {})
    except IdentityError as error:
        raise ToolError(str(error)) from None
