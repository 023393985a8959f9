"""Files from outside are read elsewhere; what they do there stays there. Limits are tried without too."""

from __future__ import annotations

import io
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from folders import make_lora
from PIL import Image
from safetensors.numpy import save_file

from studio import uploads
from studio.errors import BadRequest, NotReady, StudioError, TooLarge, UnsafeFormat, UnsupportedImage
from studio.sandbox import Sandbox, sandbox, wire

MB = 2**20
FREE = "child.give_up_rights = lambda: None; "
Make = Callable[[str], Sandbox]


def png(mode: str = "RGB", size: tuple[int, int] = (6, 4), kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, "red" if mode == "RGB" else None).save(out, kind)
    return out.getvalue()


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with closing(Sandbox()) as box:
        yield box


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """A sandbox whose decoder does what a hostile file would make it do: the words of a Python program."""
    opened: list[Sandbox] = []
    start = sandbox.START

    def go(program: str, before: str = "") -> Sandbox:
        uses = "import os, signal, socket, time; from studio import uploads; from studio.sandbox import child"
        prelude = f"{uses}; {before}\n"
        does = f"def decode(judged):\n    {program}\n    return kept(judged)\n"
        monkeypatch.setattr(
            sandbox, "START", f"{prelude}kept = uploads.decode\n{does}uploads.decode = decode\n{start}"
        )
        opened.append(Sandbox())
        return opened[-1]

    yield go  # type: ignore[misc]
    for box in opened:
        box.close()


def take(box: Sandbox, data: bytes = png()) -> uploads.Upload:
    return box.clean(data, 20 * MB, 40_000_000)


def too_costly(box: Sandbox) -> None:
    with pytest.raises(BadRequest) as caught:
        take(box)
    assert caught.value.code == "file_too_costly"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_comes_back_as_the_reader_made_it(box: Sandbox, kind: str) -> None:
    data = png(kind=kind)
    assert take(box, data) == uploads.clean(data, 20 * MB, 40_000_000)


@pytest.mark.parametrize(
    ("data", "error", "code"),
    [
        (b"", UnsupportedImage, "unsupported_image"),
        (b"<svg/>", UnsupportedImage, "unsupported_image"),
        (png()[:40], UnsupportedImage, "unsupported_image"),
        (png(size=(16_400, 2)), UnsupportedImage, "too_many_pixels"),
        (bytes(21 * MB), TooLarge, "too_large"),
    ],
    ids=str,
)  # fmt: skip
def test_a_refusal_is_the_readers_own(box: Sandbox, data: bytes, error: type[StudioError], code: str) -> None:
    with pytest.raises(error) as caught:
        take(box, data)
    with pytest.raises(error) as direct:
        uploads.clean(data, 20 * MB, 40_000_000)
    assert caught.value.as_dict() == direct.value.as_dict() and caught.value.code == code


def test_a_file_that_hangs_is_given_up_and_the_next_one_read(make: Make) -> None:
    box = make("time.sleep(60) if judged.kind == 'PNG' else None", "child.WALL['picture'] = 0.3")  # type: ignore[call-arg]
    too_costly(box)
    assert take(box, png(kind="JPEG")).width == 6


def test_a_file_that_burns_time_is_given_up(make: Make) -> None:
    too_costly(make("while True: pass", "child.CPU['picture'] = 1"))  # type: ignore[call-arg]


def test_a_file_that_takes_memory_is_given_up(make: Make) -> None:
    box = make("block = bytearray(2**30 + 2**28) if judged.kind == 'PNG' else b''")
    too_costly(box)
    assert take(box, png(kind="JPEG")).width == 6
    free = make("block = bytearray(2**30 + 2**28)", FREE)  # type: ignore[call-arg]
    assert take(free).width == 6


def test_a_decoder_that_crashes_takes_nothing_along(make: Make) -> None:
    box = make("os.kill(os.getpid(), signal.SIGSEGV) if judged.kind == 'PNG' else None")
    too_costly(box)
    assert take(box, png(kind="JPEG")).width == 6


def test_what_a_file_did_to_its_reader_ends_with_it(make: Make) -> None:
    box = make("uploads.KINDS = 'poisoned'; child.uploads.judge = None")
    assert take(box).width == 6 and take(box).width == 6


def test_a_reader_writes_nothing(make: Make, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    program = f"open({str(canary)!r}, 'w').write('x' * 9999)"
    with pytest.raises(BadRequest):
        take(make(program))
    assert not canary.exists() or not canary.read_bytes()
    take(make(program, FREE))  # type: ignore[call-arg]
    assert canary.read_bytes()


def test_a_reader_reaches_nobody(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.5)
        program = f"socket.create_connection({listener.getsockname()!r}, 1).close()"
        take(make(program, FREE))  # type: ignore[call-arg]
        listener.accept()[0].close()
        box = make(program)
        try:
            take(box)
            pytest.skip("this kernel lets nobody make a network of his own")
        except BadRequest:
            with pytest.raises(TimeoutError):
                listener.accept()


def test_a_reader_knows_no_token(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_CANARY")
    assert take(make("assert 'hf_CANARY' not in str(os.environ)")).width == 6


def test_a_killed_nursery_is_started_again(box: Sandbox) -> None:
    take(box)
    first = box._process
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    time.sleep(0.05)
    assert take(box).width == 6
    assert box._process is not None and box._process.pid != first.pid


def test_the_nursery_goes_when_the_studio_was_killed() -> None:
    box = Sandbox()
    take(box)
    assert box._control is not None and box._process is not None
    box._control.close()  # what the kernel does with a killed studio's sockets
    assert box._process.wait(10) == 0
    box.close()


def test_a_nursery_that_cannot_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "START", "raise SystemExit")
    with closing(Sandbox()) as box, pytest.raises(NotReady):
        take(box)


def test_nothing_is_left_behind(box: Sandbox) -> None:
    take(box)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with pytest.raises(UnsupportedImage):
            take(box, b"x")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "words", [{}, {"kind": "os", "message": 5}, {"kind": "StudioError", "code": "x" * 999}]
)
def test_what_a_reader_says_of_a_file_is_taken_with_care(words: dict[str, object]) -> None:
    error = wire.as_error(words)
    assert isinstance(error, StudioError) and len(error.code) <= 60


@pytest.mark.parametrize(
    "said", [b"", b"\0" * 12, b"\xff" * 12, wire.HEAD.pack(2, 0) + b"[]", wire.HEAD.pack(1, 0) + b"{"]
)
def test_a_reader_that_babbles_is_not_heard(said: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(said)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(wire.Hung):
            wire.receive(ours)


def test_weights_are_judged_there_too(box: Sandbox, tmp_path: Path) -> None:
    make_lora(tmp_path / "good.safetensors")
    box.check_weights(tmp_path / "good.safetensors")
    (tmp_path / "pickle.safetensors").write_bytes(b"\x80\x04\x95" + bytes(60))
    with pytest.raises(UnsafeFormat):
        box.check_weights(tmp_path / "pickle.safetensors")


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_with_numbers_that_are_none_are_refused(
    box: Sandbox, tmp_path: Path, kind: type[np.floating], bad: float
) -> None:
    weights = np.ones((40, 40), kind)
    weights[39, 39] = bad
    save_file({"a": np.ones(3, np.int32), "b.lora_A.weight": weights}, tmp_path / "x.safetensors")
    with pytest.raises(BadRequest) as caught:
        box.check_weights(tmp_path / "x.safetensors")
    assert caught.value.code == "non_finite" and "b.lora_A.weight" in caught.value.message
