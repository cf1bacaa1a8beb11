"""Chat: who reads what, answers as they grow, kept turns, the form and the loop."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_magic.backends import streaming
from lora_magic.backends.base import Decoding
from lora_magic.config import CompareConfig
from lora_magic.config.chat import ChatConfig
from lora_magic.dataset.examples import Turn
from lora_magic.dataset.tokens import prompt_ids
from lora_magic.display import bundle
from lora_magic.display.chat import chat_html, chat_text, compact_bundle
from lora_magic.display.progress import Progress
from lora_magic.display.safe import unsafe
from lora_magic.errors import LoraError
from lora_magic.evaluation.chat import Conversation
from lora_magic.forms.chat import ChatForm, chat_by_typing
from lora_magic.results import Chat, ChatTurn
from lora_magic.session import Session
from tests.display.conftest import HOSTILE
from tests.forms.conftest import Shown
from tests.kernel.kernels import PATIENCE, Kernel
from tests.models import rows
from tests.session.test_session import loaded, trained

ASKED = "What is two and two?"


@pytest.fixture(scope="module")
def session(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A small base with an adapter."""
    with pytest.MonkeyPatch.context() as here:
        here.chdir(tmp_path_factory.mktemp("runs"))
        made = loaded(tiny_folder, bits=32)
        trained(made, "mine", lr=2e-2, max_steps=8, data=rows(60), system="Be brief.")
    return made


def conversation(session: Session, **options: Any) -> Conversation:
    settings = {"adapters": "base,mine", "max_new_tokens": 10} | options
    return Conversation(lambda: session.scene({}), ChatConfig.of(settings))


def answered(session: Session, key: str | None, *turns: Turn, decoding: Decoding | None = None) -> str:
    """What one of them answers, asked by hand."""
    base, before = session.base, session.active
    try:
        base.activate(key)
        [made] = base.generate([prompt_ids(base.tokenizer, turns)], decoding or Decoding(10))
    finally:
        session._activate(before)
    return made.text


def quiet() -> None:
    """Shows nothing."""


@pytest.fixture
def every_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "LEAST_SECONDS", 0)


@pytest.mark.usefixtures("every_token")
def test_answers_grow_to_what_they_are_without_listening(session: Session) -> None:
    prompts = [prompt_ids(session.base.tokenizer, [Turn("user", text)]) for text in (ASKED, "Name a colour, and why.")]
    told: dict[int, list[str]] = {0: [], 1: []}
    with session.scene({}) as scene:
        scene.base.activate(None)
        made = scene.base.generate(prompts, Decoding(16), heard=lambda place, said: told[place].append(said))
        assert made == scene.base.generate(prompts, Decoding(16))
    for place, answer in enumerate(made):
        assert len(told[place]) == 16 and told[place][-1] == answer.text.rstrip("\ufffd").strip()
        assert len(set(told[place])) > 2
        assert all(answer.text.startswith(said) for said in told[place])


@pytest.mark.usefixtures("every_token")
def test_an_interrupt_tells_what_was_made_last(session: Session) -> None:
    prompt = prompt_ids(session.base.tokenizer, [Turn("user", ASKED)])
    told: list[str] = []

    def heard(_: int, said: str) -> None:
        told.append(said)
        if len(told) == 5:
            raise KeyboardInterrupt

    with session.scene({}) as scene, pytest.raises(KeyboardInterrupt):
        scene.base.activate(None)
        scene.base.generate([prompt], Decoding(16), heard=heard)
    assert len(told) == 6 and told[5] == told[4]


def test_half_a_character_is_not_told(session: Session) -> None:
    tokenizer = session.base.tokenizer
    ids = tokenizer("so 😀", add_special_tokens=False)["input_ids"]
    assert streaming.beginning(tokenizer, ids) == "so 😀"
    assert streaming.beginning(tokenizer, ids[:-1]) == "so"


def test_each_column_reads_its_own_answers(session: Session) -> None:
    talk = conversation(session)
    key = session.adapters["mine"].key
    system = Turn("system", "Be brief.")
    first = talk.say(ASKED, quiet)
    assert list(first.outputs) == ["base", "mine"] and first.outputs["base"] != first.outputs["mine"]
    for name, one in (("base", None), ("mine", key)):
        assert first.outputs[name] == answered(session, one, system, Turn("user", ASKED))
    second = talk.say("And three?", quiet)
    for name, one in (("base", None), ("mine", key)):
        history = (Turn("user", ASKED), Turn("assistant", first.outputs[name]), Turn("user", "And three?"))
        assert second.outputs[name] == answered(session, one, system, *history)
    assert session.active == "mine"


def test_settings_may_change_between_turns(session: Session) -> None:
    talk = conversation(session)
    assert talk.system == "Be brief."
    talk.config = talk.config.replace(adapters="mine", system="", temperature=1.5, max_new_tokens=4)
    turn = talk.say(ASKED, quiet)
    assert list(turn.outputs) == ["mine"] and talk.chat.columns == ("mine",)
    assert dict(talk.chat.facts) == {
        "system": "none", "decoding": "temperature 1.5, top-p 1", "tokens at most": "4", "seed": "0"
    }  # fmt: skip
    key = session.adapters["mine"].key
    assert turn.outputs["mine"] == answered(session, key, Turn("user", ASKED), decoding=Decoding(4, temperature=1.5))
    talk.config = talk.config.replace(adapters="base,mine")
    second = talk.say(ASKED, quiet)
    assert list(second.outputs) == ["base", "mine"]


def test_turns_that_no_longer_fit_are_left_out_and_it_is_said(session: Session) -> None:
    talk = conversation(session, adapters="base", max_new_tokens=100)
    turns = [talk.say(f"{number} " + "What is two and two? " * 8, quiet) for number in range(5)]
    assert turns[0].notes == () and "no longer fit" in turns[-1].notes[0]
    assert all(turn.outputs["base"] for turn in turns)
    before = len(talk.chat.turns)
    with pytest.raises(LoraError, match="tokens"):
        talk.say("far too long " * 400, quiet)
    assert len(talk.chat.turns) == before


@pytest.mark.usefixtures("every_token")
def test_stopping_keeps_what_was_made(session: Session) -> None:
    talk = conversation(session)
    seen = 0

    def show() -> None:
        nonlocal seen
        seen += 1
        if seen == 6:
            raise KeyboardInterrupt

    turn = talk.say(ASKED, show)
    assert turn.stopped and list(turn.outputs) == ["base"]
    whole = conversation(session).say(ASKED, quiet).outputs["base"]
    assert turn.outputs["base"] and whole.startswith(turn.outputs["base"]) and turn.outputs["base"] != whole
    assert session.active == "mine"
    assert "mine" in talk.say("Go on.", quiet).outputs


def test_half_a_surrogate_pair_is_replaced_when_said(session: Session) -> None:
    talk = conversation(session)
    assert talk.say("half \ud83d", quiet).prompt == "half \ufffd"


def test_kept_turns_are_rows_to_compare_on(session: Session) -> None:
    talk = conversation(session)
    with pytest.raises(LoraError, match="no turn"):
        talk.keep(-1)
    first = talk.say(ASKED, quiet)
    talk.keep(-1)
    second = talk.say("And three?", quiet)
    talk.keep(-1, "mine")
    with pytest.raises(LoraError, match="other has no answer"):
        talk.keep(-1, "other")
    assert first.kept and second.kept
    config = CompareConfig.of({"prompts": "kept.jsonl", "adapters": "base,mine", "max_new_tokens": 10})
    made = session.compare(config, Progress("comparing"), {})
    assert [row.prompt for row in made.rows] == [ASKED, "And three?"]
    assert [row.reference for row in made.rows] == [None, second.outputs["mine"]]
    assert made.rows[0].outputs == first.outputs
    assert made.rows[1].outputs["mine"] == second.outputs["mine"]


@pytest.mark.parametrize(
    ("adapters", "problem"),
    [("base,nine", "nine"), ("base-16bit", "cannot chat"), ("base+0-shot", "at least 1")],
)
def test_who_cannot_chat_is_refused_at_once(session: Session, adapters: str, problem: str) -> None:
    with pytest.raises(LoraError, match=problem):
        conversation(session, adapters=adapters)


def opened(talk: Conversation, shown: Shown) -> ChatForm:
    form = ChatForm(talk, shown.place)
    form.open()
    return form


def enter(form: ChatForm, text: str) -> None:
    """What a page sends when Enter is pressed in the box: that it was pressed, and then the text."""
    form.box._handle_custom_msg({"event": "submit"}, [])
    form.box.value = text


def test_enter_sends_and_both_answers_stand_side_by_side(session: Session, shown: Shown) -> None:
    talk = conversation(session)
    form = opened(talk, shown)
    assert shown.is_open and form.keep.disabled
    enter(form, ASKED)
    [turn] = talk.chat.turns
    assert form.box.value == "" and not form.send.disabled and form.message.value == ""
    for text in (ASKED, "turn 1", "base", "mine"):
        assert text in shown.html
    form.box.value = "And three?"
    assert len(talk.chat.turns) == 1, "leaving the box sends nothing"
    form.send.click()
    assert [one.prompt for one in talk.chat.turns] == [ASKED, "And three?"]
    form.send.click()
    enter(form, "  ")
    assert len(talk.chat.turns) == 2
    form.keep_as.value = "mine"
    form.keep.click()
    assert "%lora_compare --prompts kept.jsonl" in form.message.value and "kept" in shown.html
    assert json.loads(Path("kept.jsonl").read_text())["messages"][-1]["content"] == talk.chat.turns[1].outputs["mine"]
    assert turn.outputs["base"] != turn.outputs["mine"]


def test_enter_never_sends_an_older_text(session: Session, shown: Shown) -> None:
    talk = conversation(session, adapters="base", max_new_tokens=2)
    form = opened(talk, shown)
    form.box.value = "left and"
    enter(form, "left and edited")
    assert [one.prompt for one in talk.chat.turns] == ["left and edited"]
    form.box.value = "left alone"
    form.box._handle_custom_msg({"event": "submit"}, [])
    assert "Enter once more sends" in form.message.value and len(talk.chat.turns) == 1
    form.box._handle_custom_msg({"event": "submit"}, [])
    assert talk.chat.turns[-1].prompt == "left alone"


def test_the_form_s_settings_count_for_the_next_turn(session: Session, shown: Shown) -> None:
    talk = conversation(session)
    form = opened(talk, shown)
    assert list(form.columns) == ["base", "mine"] and form.system.value == "Be brief."
    form.columns["base"].value, form.system.value = False, "Answer at length."
    form.temperature.value, form.longest.value = 0.5, 3
    enter(form, ASKED)
    assert list(talk.chat.turns[0].outputs) == ["mine"]
    assert talk.config.temperature == 0.5 and talk.config.max_new_tokens == 3
    assert "Answer at length." in shown.html
    form.columns["mine"].value = False
    enter(form, "Hello?")
    assert "Nobody is chosen" in form.message.value and form.box.value == "Hello?" and len(talk.chat.turns) == 1


def test_a_model_that_is_gone_is_said_in_the_form(tiny_folder: Path, shown: Shown) -> None:
    session = loaded(tiny_folder, bits=32)
    talk = conversation(session, adapters="base")
    form = opened(talk, shown)
    session.free()
    enter(form, ASKED)
    assert "No model is loaded." in form.message.value and form.box.value == ASKED and not form.send.disabled


def test_hostile_text_stays_text(shown: Shown) -> None:
    chat = Chat(HOSTILE, ("base", HOSTILE), Path(HOSTILE.replace("/", "").replace("\x00", "")), (("system", HOSTILE),))
    chat.turns += [
        ChatTurn(HOSTILE * 20, {"base": HOSTILE, HOSTILE: HOSTILE * 30}, kept=True, stopped=True, notes=(HOSTILE,)),
        ChatTurn(HOSTILE, {"base": "", HOSTILE: HOSTILE * 30}),
    ]
    assert unsafe(chat_html(chat)) == [] and unsafe(compact_bundle(chat)["text/html"]) == []
    assert "\x1b" not in chat_text(chat) and "\x1b" not in str(chat)
    assert bundle(chat)["text/html"] == chat_html(chat)


def test_the_newest_turn_is_not_folded(shown: Shown) -> None:
    chat = Chat("demo", ("base",), Path("kept.jsonl"))
    chat.turns += [ChatTurn("first", {"base": "word " * 300}), ChatTurn("second", {"base": "other " * 300})]
    html = chat_html(chat)
    assert html.count("<details>") == 1 and html.index("<details>") < html.index("second")


@pytest.mark.usefixtures("every_token")
def test_chatting_by_typing(session: Session) -> None:
    talk = conversation(session)
    typed = iter(["/keep", ASKED, "/keep nobody", "/keep base", ""])
    written: list[str] = []
    made = chat_by_typing(talk, lambda _: next(typed), written.append)
    [turn] = made.turns
    said = "".join(written)
    assert "There is no turn to keep yet." in said and "nobody has no answer" in said
    for name in ("base", "mine"):
        assert f"{name}> " in said
    assert len(written) > 10 and turn.kept
    kept = json.loads(Path("kept.jsonl").read_text())["messages"]
    assert [one["role"] for one in kept] == ["system", "user", "assistant"]

    def gone(_: str) -> str:
        raise EOFError

    assert chat_by_typing(conversation(session), gone, written.append).turns == []


def test_what_is_said_first_is_said_before_anybody_types(session: Session, shown: Shown) -> None:
    lines = [ASKED, "/keep mine", "/keep mine", "And three?", "/keep"]
    by_hand = conversation(session)
    expected = [by_hand.say(text, quiet).outputs for text in (ASKED, "And three?")]
    form = ChatForm(conversation(session, say=lines), shown.place)
    form.open(lines)
    talk = form._conversation
    assert [turn.outputs for turn in talk.chat.turns] == expected and all(turn.kept for turn in talk.chat.turns)
    assert not form.keep.disabled and "turn 2" in shown.html and "--prompts kept.jsonl" in form.message.value
    kept = [json.loads(text)["messages"][-1] for text in Path("kept.jsonl").read_text().splitlines()]
    assert kept == [
        {"role": "assistant", "content": expected[0]["mine"]}, {"role": "user", "content": "And three?"}
    ], "a row is kept once"  # fmt: skip
    enter(form, "/keep nobody")
    assert "nobody has no answer" in form.message.value and len(talk.chat.turns) == 2
    written: list[str] = []
    typed = iter(["/keep base", ""])
    made = chat_by_typing(conversation(session, say=[ASKED]), lambda _: next(typed), written.append)
    assert [turn.outputs for turn in made.turns] == expected[:1] and made.turns[0].kept
    assert f"you> {ASKED}\n" in written


def test_nothing_to_keep_is_an_error_of_the_cell(session: Session, shown: Shown) -> None:
    with pytest.raises(LoraError, match="no turn to keep"):
        ChatForm(conversation(session), shown.place).open(["/keep"])


@pytest.mark.parametrize("say", [["  "], "", 3, [1]])
def test_what_cannot_be_said_first_is_refused(say: Any) -> None:
    with pytest.raises(LoraError, match=r"say must be text|say must be a text|nothing to say"):
        ChatConfig.of({"say": say})


class Page:
    """A front end's side of a form in a real kernel."""

    def __init__(self, kernel: Kernel, messages: list[dict[str, Any]]) -> None:
        self.kernel = kernel
        opened = [one["content"] for one in messages if one["msg_type"] == "comm_open"]
        self.states = {one["comm_id"]: one["data"]["state"] for one in opened}

    def find(self, **state: Any) -> str:
        """The widget that has this state."""
        [found] = [name for name, one in self.states.items() if state.items() <= one.items()]
        return found

    def send(self, widget: str, data: dict[str, Any], then: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
        """A message to a widget, to its end; `then` is called with every display that it changed."""
        client = self.kernel.client
        message = client.session.msg("comm_msg", {"comm_id": widget, "data": {"buffer_paths": [], **data}})
        client.shell_channel.send(message)
        while True:
            got = client.get_iopub_msg(timeout=PATIENCE)
            if got["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                continue
            if got["msg_type"] == "update_display_data":
                then(got["content"])
            elif got["msg_type"] == "comm_msg":
                self.states[got["content"]["comm_id"]].update(got["content"]["data"].get("state", {}))
            elif got["msg_type"] == "status" and got["content"]["execution_state"] == "idle":
                return


def test_a_cell_s_lines_are_said_first_and_a_stop_ends_them(tiny_folder: Path, tmp_path: Path) -> None:
    with Kernel(tmp_path) as kernel:
        kernel.run("%load_ext lora_magic")
        assert kernel.run(f'%lora_load "{tiny_folder}" --bits 32').status == "ok"
        kernel.run("from lora_magic.forms import place\nfrom lora_magic.backends import streaming")
        kernel.run("place.LEAST_SECONDS = streaming.LEAST_SECONDS = 0")
        said = kernel.run(f"%%lora_chat --adapters base --max-new-tokens 4 --into c\n{ASKED}\n/keep\n\nAnd three?\n")
        assert said.status == "ok" and "turn 2" in said.everything, said.everything
        assert kernel.run("print([turn.kept for turn in c.turns])").stream == "[True, False]\n"
        long = f"%%lora_chat --adapters base --max-new-tokens 400 --into d\n{ASKED}\nAnd three?"
        stopped = kernel.run(long, when=r"(?s)turn 1.*base> \S", then=kernel.interrupt)
        assert stopped.status == "ok", stopped.everything
        assert kernel.run("print([turn.stopped for turn in d.turns])").stream == "[True]\n"
        compared = kernel.run("r = %lora_compare --prompts kept.jsonl --max-new-tokens 4\nprint(len(r.rows))")
        assert compared.stream.endswith("1\n"), compared.everything


def test_a_chat_in_a_kernel_streams_and_stops(tiny_folder: Path, tmp_path: Path) -> None:
    with Kernel(tmp_path) as kernel:
        kernel.run("%load_ext lora_magic")
        assert kernel.run(f'%lora_load "{tiny_folder}" --bits 32').status == "ok"
        kernel.run("from lora_magic.forms import place\nfrom lora_magic.backends import streaming")
        kernel.run("place.LEAST_SECONDS = streaming.LEAST_SECONDS = 0")
        opened = kernel.run("c = %lora_chat --adapters base --max-new-tokens 400")
        assert opened.status == "ok", opened.everything
        page = Page(kernel, opened.messages)
        shown: list[str] = []
        stopping: list[str] = []
        record = next(name for name, one in opened.displays.items() if "text/html" in one)

        def stop(content: dict[str, Any]) -> None:
            assert content["transient"]["display_id"] == record
            shown.append(content["data"]["text/plain"])
            if not stopping and len(shown[-1].partition("base> ")[2]) > 5:
                stopping.append(shown[-1])
                kernel.interrupt()

        box = page.find(placeholder="Type, then press Enter")
        page.send(box, {"method": "custom", "content": {"event": "submit"}})
        page.send(box, {"method": "update", "state": {"value": ASKED}}, stop)
        assert stopping and "stopped" in shown[-1] and ASKED in shown[0]
        seen = kernel.run("print(len(c.turns), c.turns[0].stopped, len(c.turns[0].outputs['base']) > 0)")
        assert seen.stream == "1 True True\n"
        before = time.monotonic()
        page.send(page.find(description="tokens"), {"method": "update", "state": {"value": 4}})
        page.send(box, {"method": "custom", "content": {"event": "submit"}})
        page.send(box, {"method": "update", "state": {"value": "Again."}}, lambda content: shown.append(str(content)))
        assert time.monotonic() - before < PATIENCE and "turn 2" in shown[-1]
        page.send(page.find(description="Keep the last turn"), {"method": "custom", "content": {"event": "click"}})
        assert "Again." in (tmp_path / "kept.jsonl").read_text()
