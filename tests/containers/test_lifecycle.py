"""Starting, stopping, waiting and logs, with a stand-in for runc; `tests/interop` uses it."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocitool.containers.lifecycle.failing import Cause, NotStarted
from ocitool.containers.lifecycle.logs import container_logs
from ocitool.containers.lifecycle.starting import StartOptions, start_container
from ocitool.containers.lifecycle.state import State, Status, container_state, open_run
from ocitool.containers.lifecycle.stopping import stop_container, wait_for_container
from ocitool.containers.options import LifeOptions, NetworkOptions, ProcessOptions
from ocitool.containers.providers import find_providers
from ocitool.containers.records import Container, find_container
from ocitool.containers.removing import remove_container
from ocitool.errors import NotFound, OcitoolError, Refused, UsageError
from ocitool.places.layout import Layout, untag
from tests.containers.making import NAME, app, create
from tests.support.disk import small_disk
from tests.support.layouts import store
from tests.support.runtime import stand_in

GOES_ON = 'echo $$ >$pid; trap "exit 3" TERM; while :; do sleep 0.02; done'
STUBBORN = 'echo $$ >$pid; trap "" TERM; while :; do sleep 0.02; done'


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    with store(tmp_path / "s", app=app()) as layout:
        yield layout


@pytest.fixture
def web(layout: Layout) -> Container:
    """A container that was never started."""
    return create(layout, name="web", alone=True).container


class Runtime:
    """Starts containers by a stand-in, and kills those that still run at the end."""

    def __init__(self, layout: Layout, folder: Path) -> None:
        self._layout = layout
        self._folder = folder

    def start(self, does: str = "echo $$ >$pid; exit 7", *, detach: bool = False) -> State:
        program = stand_in(self._folder, does)
        options = StartOptions(runtime=str(program), detach=detach)
        return start_container(self._layout, "web", options).state

    def stop(self) -> None:
        stop_container(self._layout, "web", signalled="KILL")

    @property
    def deleted(self) -> Path:
        """The file with the containers that the runtime was to delete."""
        return self._folder / "runtime.deleted"


@pytest.fixture
def runtime(layout: Layout, web: Container, tmp_path: Path) -> Iterator[Runtime]:
    runtime = Runtime(layout, tmp_path)
    yield runtime
    try:
        runtime.stop()
    except NotFound:
        assert not Path(web.bundle).exists()


def state(layout: Layout) -> str:
    return container_state(find_container(layout, "web")).text


class TestC6States:
    def test_created_then_exited_with_the_code(self, layout: Layout, runtime: Runtime) -> None:
        assert state(layout) == "created"
        ended = runtime.start()
        assert (ended.status, ended.exit_code, ended.pid) == (Status.EXITED, 7, None)
        assert ended.started is not None
        assert ended.finished is not None
        assert ended.started <= ended.finished
        assert state(layout) == "exited (7)"
        # It may be started again, and the last end counts.
        assert runtime.start("echo $$ >$pid").exit_code == 0
        assert state(layout) == "exited (0)"

    def test_running_in_the_background(self, layout: Layout, runtime: Runtime) -> None:
        begun = runtime.start(GOES_ON, detach=True)
        assert begun.status is Status.RUNNING
        assert begun.pid is not None
        assert begun.finished is None
        (provider,) = find_providers(["store"], layout=layout)
        assert [use.state for use in provider.uses()] == ["running"]
        runtime.stop()
        assert state(layout) == "exited (137)"
        assert [use.state for use in provider.uses()] == ["exited"]

    def test_after_a_reboot_the_code_is_unknown_and_it_may_be_started(
        self, layout: Layout, web: Container, runtime: Runtime
    ) -> None:
        with open_run(web) as run:
            Path(run.path, "pid").write_text("999999")
            Path(run.path, "state", web.id).mkdir(parents=True)
        assert state(layout) == "exited (?)"
        assert runtime.start().exit_code == 7
        # What the runtime still knew of the last run was deleted by it.
        assert runtime.deleted.read_text().rstrip().endswith(f"delete --force {web.id}")

    @pytest.mark.parametrize("detach", [False, True])
    def test_a_failed_start_leaves_what_is_known_of_the_last_run(
        self, layout: Layout, runtime: Runtime, *, detach: bool
    ) -> None:
        first = runtime.start("echo $$ >$pid; exit 9")
        for _ in range(2):
            with pytest.raises(OcitoolError):
                runtime.start("exit 1", detach=detach)
            assert container_state(find_container(layout, "web")) == first
            assert wait_for_container(layout, "web").state.text == "exited (9)"
        # Of a run that has begun, the end of the one before says nothing.
        assert runtime.start("echo $$ >$pid; exit 3").text == "exited (3)"
        runtime.start("echo $$ >$pid; kill -9 $PPID; exit 4", detach=True)
        assert wait_for_container(layout, "web").state.text == "exited (?)"

    def test_a_bundle_that_is_gone_or_is_anothers(self, layout: Layout, web: Container) -> None:
        config = Path(web.bundle, "config.json")
        config.write_text(config.read_text().replace(web.id, "0" * 64))
        with pytest.raises(NotFound, match="is not the bundle of container web any more"):
            start_container(layout, "web", StartOptions())
        os.rename(web.bundle, f"{web.bundle}-away")
        assert state(layout) == "bundle missing"
        with pytest.raises(NotFound, match="the bundle of container web is gone"):
            start_container(layout, "web", StartOptions())
        os.rename(f"{web.bundle}-away", web.bundle)
        assert not Path(web.bundle, "run").exists()

    def test_the_name_of_its_image_may_be_gone(self, layout: Layout, runtime: Runtime) -> None:
        untag(layout, [NAME])
        assert runtime.start().exit_code == 7


class TestC6Start:
    def test_names_of_the_host_are_those_of_the_moment(
        self, layout: Layout, tmp_path: Path
    ) -> None:
        program = str(stand_in(tmp_path))
        for mode, expected in (("host", True), ("none", False)):
            network = NetworkOptions(mode=mode, add_hosts=(("db", "10.0.0.7"),))
            made = create(layout, name=mode, alone=True, network=network).container
            place = Path(made.bundle, "hosts")
            before = place.read_text()
            place.write_text("of another time")
            start_container(layout, mode, StartOptions(runtime=program))
            assert (place.read_text() == before) == expected
            assert place.stat().st_mode & 0o777 == 0o644

    def test_what_the_runtime_says_is_the_message(self, layout: Layout, runtime: Runtime) -> None:
        says = r"""echo 'time="x" level=error msg="runc run failed: exec: \"/no\""' >&2; exit 1"""
        with pytest.raises(OcitoolError) as caught:
            runtime.start(says, detach=True)
        reason = "'runc run failed: exec: \"/no\"'"
        assert caught.value.message == f"runtime could not start container web: {reason}"
        assert state(layout) == "created"
        with pytest.raises(OcitoolError, match=r"runtime could not start container web$"):
            runtime.start("exit 1")
        assert state(layout) == "created"

    @pytest.mark.parametrize(
        ("said", "cause"),
        [
            ('exec: \\"nope\\": executable file not found in $PATH', Cause.ABSENT),
            ('exec: \\"/no\\": stat /no: no such file or directory', Cause.ABSENT),
            ('exec: \\"/etc/f\\": permission denied', Cause.DENIED),
            ("mounting x: no such file or directory", Cause.RUNTIME),
            ("cgroups in hybrid mode not supported, drop all controllers", Cause.RUNTIME),
            ("", Cause.RUNTIME),
        ],
    )
    def test_why_it_could_not_be_started_and_what_to_do(
        self,
        runtime: Runtime,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        said: str,
        cause: Cause,
    ) -> None:
        (tmp_path / "bin").mkdir()
        stand_in(tmp_path / "bin").rename(tmp_path / "bin/runc")
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
        monkeypatch.setattr("ocitool.containers.lifecycle.runtime._MORE", str(tmp_path))
        (tmp_path / "said").write_text(f'time="x" level=error msg="runc run failed: {said}"\n')
        for detach in (False, True):
            with pytest.raises(NotStarted) as caught:
                runtime.start(f"cp {tmp_path}/said $log; exit 1", detach=detach)
            assert caught.value.cause is cause
            assert ("runc run failed: " in caught.value.message) == detach
            assert caught.value.hint == (
                "runtime itself failed: try another with --runtime runc, or make the container "
                "with other options"
                if cause is Cause.RUNTIME
                else "make another container with a command that the image has and that may be run"
            )

    def test_it_is_started_once(self, runtime: Runtime) -> None:
        runtime.start(GOES_ON, detach=True)
        with pytest.raises(Refused, match="container web is running") as caught:
            runtime.start()
        assert caught.value.hint == "end it first: `ocitool container stop web`"

    @pytest.mark.usefixtures("runtime")
    def test_of_many_at_once_one_starts_it(self, layout: Layout, tmp_path: Path) -> None:
        refused: list[Refused] = []
        options = StartOptions(runtime=str(stand_in(tmp_path, GOES_ON)), detach=True)

        def start() -> None:
            try:
                start_container(layout, "web", options)
            except Refused as error:
                refused.append(error)

        threads = [threading.Thread(target=start) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(refused) == 3

    def test_a_terminal_needs_one(self, layout: Layout, tmp_path: Path) -> None:
        create(layout, name="tty", alone=True, process=ProcessOptions(terminal=True))
        program = str(stand_in(tmp_path))
        with pytest.raises(Refused, match="needs somebody in front of it"):
            start_container(layout, "tty", StartOptions(detach=True, runtime=program))
        if not any(map(os.isatty, (0, 1, 2))):
            with pytest.raises(Refused, match="there is none here"):
                start_container(layout, "tty", StartOptions(runtime=program))

    def test_a_runtime_that_is_not_there(self, layout: Layout, web: Container) -> None:
        with pytest.raises(NotFound, match="'/none/runc' is not a program here"):
            start_container(layout, web.id, StartOptions(runtime="/none/runc"))

    def test_only_crun_cannot_run_an_overlay(
        self, layout: Layout, web: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from msgspec.structs import replace

        from ocitool.containers.lifecycle import runtime

        crun = stand_in(tmp_path).rename(tmp_path / "crun")
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(runtime, "_MORE", str(tmp_path))
        assert runtime.find_runtime(web, "/run").program == str(crun)
        with pytest.raises(Refused, match="cannot mount the overlay of web"):
            runtime.find_runtime(replace(web, tree="x"), "/run")
        crun.unlink()
        with pytest.raises(NotFound, match="neither runc nor crun is installed"):
            runtime.find_runtime(web, "/run")

    def test_a_full_disk_does_not_change_how_it_ended(self, tmp_path: Path) -> None:
        (tmp_path / "d").mkdir()
        does = "echo $$ >$pid; cat /dev/zero >$bundle/full 2>/dev/null; exit 7"
        with small_disk(tmp_path / "d", "2m"), store(tmp_path / "d/s", app=app()) as layout:
            web = create(layout, name="web", alone=True).container
            started = start_container(
                layout, "web", StartOptions(runtime=str(stand_in(tmp_path, does)))
            )
            assert started.state.text == "exited (7)"
            assert state(layout) == "exited (?)"
            Path(web.bundle, "full").unlink()
            program = str(stand_in(tmp_path))
            start_container(layout, "web", StartOptions(runtime=program))
            assert state(layout) == "exited (7)"


class TestC6Stop:
    def test_its_own_signal_ends_it(self, layout: Layout, runtime: Runtime) -> None:
        runtime.start(GOES_ON, detach=True)
        stopped = stop_container(layout, "web")
        assert (stopped.was_running, stopped.killed) == (True, False)
        assert stopped.state.text == "exited (3)"
        again = stop_container(layout, "web")
        assert (again.was_running, again.state.text) == (False, "exited (3)")

    def test_one_that_does_not_heed_it_is_killed(self, layout: Layout, runtime: Runtime) -> None:
        runtime.start(STUBBORN, detach=True)
        began = time.monotonic()
        stopped = stop_container(layout, "web", timeout=0.2)
        assert time.monotonic() - began < 5
        assert stopped.killed
        assert stopped.state.text == "exited (137)"

    @pytest.mark.parametrize(
        ("image", "asked", "expected"),
        [("SIGUSR1", None, 5), ("USR1", "TERM", 3), ("BROKEN", None, 3)],
    )
    def test_the_signal_is_that_of_the_container_else_of_the_image(
        self, tmp_path: Path, image: str, asked: str | None, expected: int
    ) -> None:
        does = GOES_ON.replace("while", 'trap "exit 5" USR1; while')
        with store(tmp_path / "t", app=app({"StopSignal": image})) as layout:
            create(layout, name="web", alone=True, life=LifeOptions(stop_signal=asked))
            program = str(stand_in(tmp_path, does))
            start_container(layout, "web", StartOptions(runtime=program, detach=True))
            assert stop_container(layout, "web").state.exit_code == expected

    def test_how_long_it_waits_is_that_of_the_container(self, tmp_path: Path) -> None:
        with store(tmp_path / "t", app=app({"StopTimeout": 600})) as layout:
            made = create(layout, name="a", alone=True).container
            assert made.settings.stop_timeout == 600
            made = create(
                layout, name="web", alone=True, life=LifeOptions(stop_timeout=0)
            ).container
            program = str(stand_in(tmp_path, STUBBORN))
            start_container(layout, "web", StartOptions(runtime=program, detach=True))
            assert stop_container(layout, "web").killed

    def test_an_unknown_signal_is_told_and_nothing_is_sent(
        self, layout: Layout, runtime: Runtime
    ) -> None:
        runtime.start(GOES_ON, detach=True)
        with pytest.raises(UsageError, match="'HELLO' is not a signal"):
            stop_container(layout, "web", signalled="HELLO")
        assert state(layout) == "running"


class TestC6Wait:
    def test_it_returns_when_it_has_ended(self, layout: Layout, runtime: Runtime) -> None:
        runtime.start("echo $$ >$pid; sleep 0.2; exit 9", detach=True)
        ended = wait_for_container(layout, "web")
        assert ended.state.text == "exited (9)"
        assert wait_for_container(layout, "web") == ended

    def test_any_path_of_a_bundle_will_do(self, layout: Layout, tmp_path: Path) -> None:
        place = tmp_path / "a 'b\n$(touch x)`;\"ü"
        create(layout, name="odd", alone=True, bundle=str(place))
        program = str(stand_in(tmp_path, 'echo $$ >"$pid"; exit 7'))
        start_container(layout, "odd", StartOptions(runtime=program, detach=True))
        assert wait_for_container(layout, "odd").state.exit_code == 7

    def test_one_that_was_never_started_is_told(self, layout: Layout, web: Container) -> None:
        with pytest.raises(Refused, match="container web was never started") as caught:
            wait_for_container(layout, web.id[:8])
        assert caught.value.hint == "`ocitool container start web` starts it"


class TestC6Logs:
    def test_both_outputs_are_kept_byte_by_byte_of_all_runs(
        self, layout: Layout, runtime: Runtime
    ) -> None:
        says = r"echo $$ >$pid; printf 'a\377\000\033[31m'; printf 'bad\n' >&2"
        for _ in range(2):
            runtime.start(says, detach=True)
            wait_for_container(layout, "web")
        found = list(container_logs(layout, "web"))
        out = b"".join(one.data for one in found if not one.is_error)
        assert out == b"a\xff\x00\x1b[31m" * 2
        assert b"".join(one.data for one in found if one.is_error) == b"bad\n" * 2

    def test_they_are_followed_until_it_ends(self, layout: Layout, runtime: Runtime) -> None:
        runtime.start("echo $$ >$pid; echo one; sleep 0.3; echo two", detach=True)
        found = [one.data for one in container_logs(layout, "web", follow=True)]
        assert found == [b"one\n", b"two\n"]

    def test_one_that_ran_in_front_has_none(self, layout: Layout, runtime: Runtime) -> None:
        runtime.start()
        with pytest.raises(NotFound, match="it never ran in the background"):
            next(container_logs(layout, "web"))


class TestC6Remove:
    def test_one_that_runs_stays_unless_it_is_killed(
        self, layout: Layout, web: Container, runtime: Runtime
    ) -> None:
        runtime.start(GOES_ON, detach=True)
        with pytest.raises(Refused, match="container web is running"):
            remove_container(layout, "web")
        assert Path(web.bundle).exists()
        remove_container(layout, "web", force=True)
        assert not Path(web.bundle).exists()

    def test_what_a_killed_runtime_kept_is_deleted_by_one(
        self, layout: Layout, web: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A runtime that was killed leaves control groups, which only a runtime knows.
        stand_in(tmp_path).rename(tmp_path / "runc")
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        with open_run(web) as run:
            Path(run.path, "state", web.id).mkdir(parents=True)
        remove_container(layout, "web")
        assert (tmp_path / "runc.deleted").read_text().endswith(f"delete --force {web.id}\n")

    def test_a_removed_one_is_not_started(self, layout: Layout, web: Container) -> None:
        remove_container(layout, "web")
        with pytest.raises(NotFound, match="there is no container"):
            start_container(layout, web.id, StartOptions())
