"""An assistant asks the warehouse: an MCP server for DuckDB, set up as README shows, spoken to as its clients do."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from beside import Account, Rows, program, texts
from readme import shown

pytestmark = pytest.mark.recipes


class Server:
    """JSON-RPC over a program's standard input and output, a message a line."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process, self.asked = process, 0

    def tell(self, method: str, **more: Any) -> None:
        assert self.process.stdin
        print(json.dumps({"jsonrpc": "2.0", "method": method, **more}), file=self.process.stdin, flush=True)

    def ask(self, method: str, **params: Any) -> Any:
        assert self.process.stdout
        self.asked += 1
        self.tell(method, id=self.asked, params=params)
        for line in self.process.stdout:
            if (answer := json.loads(line)).get("id") == self.asked:
                return answer["result"]
        raise AssertionError("it has ended")

    def call(self, tool: str, **arguments: Any) -> Any:
        """What a tool answers, or the text of its error."""
        answer = self.ask("tools/call", name=tool, arguments=arguments)
        [told] = answer["content"]
        return told["text"] if answer.get("isError") else json.loads(told["text"])

    def rows(self, question: str) -> Rows:
        return texts(self.call("execute_query", sql=question)["rows"])


@pytest.fixture
def server(account: Account) -> Iterator[Server]:
    """Started as README's configuration has it, and greeted."""
    [(name, told)] = json.loads(shown("**An assistant** (MCP)", "json"))["mcpServers"].items()
    assert (name, told["command"], told["args"][0]) == ("apiframe", "uvx", "mcp-server-motherduck")
    command = [program("mcp-server-motherduck", told["args"][0])]
    command += [each.replace("/path/to", str(account.folder)) for each in told["args"][1:]]
    with subprocess.Popen(
        command, cwd="/", env=account.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            server = Server(process)
            client = {"name": "ours", "version": "1"}
            greeted = server.ask("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=client)
            assert greeted["serverInfo"]["name"] == "mcp-server-motherduck"
            server.tell("notifications/initialized")
            yield server
        finally:
            process.terminate()


def test_it_answers_as_the_command_does_while_syncs_go_on(account: Account, server: Server) -> None:
    assert "execute_query" in {tool["name"] for tool in server.ask("tools/list")["tools"]}
    with account.syncing() as questions:
        seen = [(question, server.rows(question)) for question in questions]
    account.compare(seen, server.rows)


def test_it_is_told_what_the_views_are_for_and_reaches_nothing_else(account: Account, server: Server) -> None:
    assert "which model fails too often" in str(server.call("list_tables", schema="reports"))
    before, secrets = account.path.read_bytes(), account.folder / "secrets.toml"
    secrets.write_text("api_key = 1")
    for refused, reason in {
        "delete from apiframe.jobs": "read-only",
        f"from read_text('{secrets}')": "disabled by configuration",
        f"copy apiframe.jobs to '{account.folder}/jobs.csv'": "disabled by configuration",
        "set enable_external_access = true": "while database is running",
    }.items():
        assert reason in server.call("execute_query", sql=refused)
    assert account.path.read_bytes() == before
    assert not (account.folder / "jobs.csv").exists()
