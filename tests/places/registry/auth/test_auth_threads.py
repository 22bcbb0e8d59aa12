"""Authentication by many threads at once."""

import threading
import time
from collections.abc import Callable

import httpx
import pytest

from ocitool.errors import AccessDenied
from tests.places.registry.auth_servers import BASE, PULL, PUSH, USER, Caller, Servers, refused


class TestThreads:
    THREADS = 8

    def together(self, work: Callable[[], object]) -> list[object]:
        """Do the work in several threads at once; return what each brought or raised."""
        barrier = threading.Barrier(self.THREADS)
        results: list[object] = []

        def run() -> None:
            barrier.wait()
            try:
                results.append(work())
            except AccessDenied as error:
                results.append(error)

        threads = [threading.Thread(target=run) for _ in range(self.THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(results) == self.THREADS
        return results

    def slow(self, servers: Servers) -> Servers:
        def tokens(request: httpx.Request) -> httpx.Response:
            time.sleep(0.05)
            return servers.issue(request)

        servers.tokens = tokens
        return servers

    def test_eight_fetch_one_token(self) -> None:
        servers = self.slow(Servers())
        caller = Caller(servers, USER)
        assert self.together(lambda: caller.send().status_code) == [200] * self.THREADS
        assert len(servers.issued) == 1
        assert caller.lookups == 1

    def test_eight_renew_one_token(self) -> None:
        servers = self.slow(Servers())
        caller = Caller(servers, USER)
        caller.send()
        servers.valid.clear()
        assert self.together(lambda: caller.send().status_code) == [200] * self.THREADS
        assert len(servers.issued) == 2

    def test_eight_that_lack_a_scope_all_get_it(self) -> None:
        servers = Servers(error=',error="insufficient_scope",scope="aws"')

        def tokens(request: httpx.Request) -> httpx.Response:
            time.sleep(0.05)
            if "aws" in request.url.params.get_list("scope"):
                return servers.issue(request)
            return httpx.Response(200, json={"token": "narrow"})

        servers.tokens = tokens
        caller = Caller(servers)
        assert self.together(lambda: caller.send().status_code) == [200] * self.THREADS
        assert len(servers.asked()) == 2

    def test_eight_with_a_stale_password_read_on_and_warn_once(self) -> None:
        servers = Servers()

        def registry(request: httpx.Request) -> httpx.Response:
            time.sleep(0.01)
            is_open = request.method == "GET" and "authorization" not in request.headers
            return httpx.Response(200) if is_open else refused('Basic realm="r"')

        servers.registry = registry
        caller = Caller(servers, USER)
        caller.send("POST", writing=True)
        assert self.together(lambda: caller.send("GET").status_code) == [200] * self.THREADS
        assert len(caller.warnings) == 1

    def test_a_body_on_its_way_does_not_keep_others_from_their_token(self) -> None:
        servers = Servers()
        caller = Caller(servers)
        caller.send(scopes=PUSH, writing=True)
        request = httpx.Request(
            "PUT", f"{BASE}/v2/a/b/blobs/uploads/1", extensions={"scopes": PUSH, "writing": True}
        )
        flow = caller.authorizer.auth_flow(request)
        next(flow)
        servers.valid.clear()
        assert (
            self.together(lambda: caller.send(scopes=PUSH, writing=True).status_code)
            == [200] * self.THREADS
        )
        flow.close()

    def test_a_token_that_another_thread_renewed_meanwhile_is_taken(self) -> None:
        servers = Servers()
        caller = Caller(servers)
        caller.send()
        request = httpx.Request("GET", f"{BASE}/v2/a/b/tags/list", extensions={"scopes": PULL})
        flow = caller.authorizer.auth_flow(request)
        next(flow)
        servers.valid.clear()
        caller.send()
        again = flow.send(refused(servers.challenge))
        assert again.headers["authorization"] == "Bearer token-2"
        flow.close()

    def test_eight_that_are_refused_without_a_word_ask_once_why(self) -> None:
        servers = Servers()

        def registry(request: httpx.Request) -> httpx.Response:
            answer = servers.answer(request)
            if request.url.path == "/v2/":
                time.sleep(0.05)
                return answer
            return answer if answer.status_code == 200 else httpx.Response(401)

        servers.registry = registry
        caller = Caller(servers)
        assert self.together(lambda: caller.send().status_code) == [200] * self.THREADS
        assert len(servers.asked("/v2/")) == 1

    def test_a_fetch_that_is_broken_off_lets_the_next_one_in(self) -> None:
        servers = Servers()
        caller = Caller(servers)

        def broken(request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("gone", request=request)

        servers.tokens = broken
        with pytest.raises(httpx.ConnectError):
            caller.send()
        servers.tokens = None
        assert caller.send().status_code == 200
