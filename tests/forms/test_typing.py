"""Chat and votes through their magics in a shell without a notebook: by typing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from lora_magic.results import Chat, Comparison
from tests.magics.conftest import shell as shell
from tests.models import rows

Types = Callable[..., list[str]]


@pytest.fixture
def types(monkeypatch: pytest.MonkeyPatch) -> Types:
    """Answers every question with the next text, and then with Ctrl-D; returns what was asked."""

    def typed(*texts: str) -> list[str]:
        left, questions = list(texts), []

        def answer(question: str = "") -> str:
            questions.append(question)
            if not left:
                raise EOFError
            return left.pop(0)

        monkeypatch.setattr("builtins.input", answer)
        return questions

    return typed


@pytest.fixture
def trained(shell: InteractiveShell, tiny_folder: Path) -> InteractiveShell:
    shell.user_ns["rows"] = rows()
    shell.run_cell(f'%lora_load "{tiny_folder}" --bits 32').raise_error()
    shell.run_cell("%lora_train mine --data rows --max-steps 4 --lr 2e-2").raise_error()
    return shell


def result(shell: InteractiveShell, cell: str) -> Any:
    done = shell.run_cell(cell)
    done.raise_error()
    return done.result


def test_a_blind_vote_by_typing(trained: InteractiveShell, types: Types, capsys: pytest.CaptureFixture[str]) -> None:
    cell = "%%lora_compare --blind --max-new-tokens 4\nOne?\nTwo?\nThree?"
    capsys.readouterr()
    types("a", "q")
    first = result(trained, cell)
    said = capsys.readouterr().out
    assert isinstance(first, Comparison) and first.votes is not None and first.votes.done == 1
    assert "row 1 of 3: One?" in said and "row 2 of 3: Two?" in said and "row 3" not in said
    assert "1 vote for one of the two cannot tell" in said
    path = Path("lora_runs/mine/votes.jsonl")
    assert first.votes.path == path.absolute() and len(path.read_text().splitlines()) == 1
    types("t", "x")
    second = result(trained, cell)
    assert "row 1 of 3" not in capsys.readouterr().out
    assert second.votes.tally.votes == 3 and second.votes.tally.ties == 1
    assert [row.prompt for row in second.rows] == ["One?", "Two?", "Three?"]
    asked = types()
    assert result(trained, cell).votes.tally.wins == second.votes.tally.wins and asked == []


def test_a_chat_by_typing_and_its_kept_turns(
    trained: InteractiveShell, types: Types, capsys: pytest.CaptureFixture[str]
) -> None:
    types("Hello?", "/keep", "")
    made = result(trained, "%lora_chat --max-new-tokens 4")
    said = capsys.readouterr().out
    assert isinstance(made, Chat) and [turn.prompt for turn in made.turns] == ["Hello?"]
    assert "base> " in said and "mine> " in said and "kept in" in said
    assert json.loads(Path("kept.jsonl").read_text()) == {"messages": [{"role": "user", "content": "Hello?"}]}
    compared = result(trained, "%lora_compare --prompts kept.jsonl --max-new-tokens 4")
    assert compared.rows[0].outputs == made.turns[0].outputs
