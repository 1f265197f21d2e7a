import socket
from pathlib import Path

import pytest

from alpaca_lora.errors import ConfigError
from alpaca_lora.serving import Assistant
from alpaca_lora.serving.desk import Desk
from alpaca_lora.serving.website import Website, listen, read_accounts

pytest.importorskip("gradio", reason="the extra ui is not installed")
ACCOUNTS = [("ann", "a long secret"), ("ben", "another one")]


@pytest.fixture(scope="module")
def desk(assistant: Assistant) -> Desk:
    return Desk(assistant)


@pytest.fixture(scope="module")
def website(desk: Desk, publish) -> Website:
    return publish(desk)


@pytest.fixture(scope="module")
def private(desk: Desk, publish) -> Website:
    return publish(desk, accounts=ACCOUNTS)


@pytest.fixture
def http():
    import httpx

    with httpx.Client(trust_env=False, timeout=60) as client:
        yield client


def test_the_page_is_at_the_loopback_address_only(website: Website):
    assert website.socket.getsockname() == ("127.0.0.1", website.port)


def test_the_page_and_what_it_is_made_of_are_served(website: Website, http):
    page = http.get(website.url)

    assert page.status_code == 200
    assert http.get(f"{website.url}/theme.css").status_code == 200
    assert http.get(f"{website.url}/gradio_api/info").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=run.json",
        "/gradio_api/file/run.json",
        "/file=/etc/passwd",
        "/static/../../../../../../etc/passwd",
        "/assets/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/gradio_api/upload",
        "/gradio_api/upload_progress?upload_id=1",
        "/gradio_api/stream/1",
        "/gradio_api/runs",
        "/gradio_api/run-history/buckets",
        "/gradio_api/vibe-code/",
        "/gradio_api/openapi.json",
        "/gradio_api/mcp/",
        "/monitoring",
        "/docs",
        "/openapi.json",
    ],
)
def test_nothing_else_is_served(website: Website, http, path: str):
    for method in ("GET", "POST"):
        answer = http.request(method, website.url + path)
        assert answer.status_code in (403, 404, 405), (method, path)
        assert "root:" not in answer.text


def test_an_upload_is_refused(website: Website, http):
    answer = http.post(f"{website.url}/gradio_api/upload", files={"files": ("a.txt", b"text")})

    assert answer.status_code == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_foreign_name_for_this_machine_is_refused(website: Website, http, host: str):
    assert http.get(website.url, headers={"host": host}).status_code == 421
    assert http.get(website.url, headers={"host": f"localhost:{website.port}"}).status_code == 200


def test_a_request_that_names_no_host_is_refused(website: Website):
    with socket.create_connection(("127.0.0.1", website.port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b" 421 " in connection.recv(100)


def test_another_site_cannot_ask_through_a_browser(website: Website, http):
    headers = {"origin": "https://evil.example"}
    answer = http.get(f"{website.url}/config", headers=headers)

    assert "access-control-allow-origin" not in answer.headers


def test_a_request_of_another_site_is_refused(website: Website, http):
    strangers = [
        "https://evil.example",
        f"http://evil.example:{website.port}",
        "null",
        "",
        f"http://localhost:{website.port}",
    ]
    strangers += ["http://127.0.0.1", "http://127.0.0.1:1", f"http://127.0.0.1:{website.port}.evil.example"]
    for method in ("GET", "POST", "OPTIONS"):
        for origin in strangers:
            answer = http.request(method, f"{website.url}/config", headers={"origin": origin})
            assert (answer.status_code, answer.content) == (403, b""), (method, origin)
    both = [("origin", website.url), ("origin", "https://evil.example")]
    assert http.get(f"{website.url}/config", headers=both).status_code == 403
    assert http.get(f"{website.url}/config", headers={"origin": website.url}).status_code == 200
    local = {"host": f"localhost:{website.port}", "origin": f"http://localhost:{website.port}"}
    assert http.get(f"{website.url}/config", headers=local).status_code == 200


def test_a_shared_page_is_asked_by_itself_alone(desk: Desk, publish, http, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gradio.networking.setup_tunnel", lambda *_: "https://mine.gradio.live")
    website = publish(desk, accounts=ACCOUNTS)
    assert website.share() == "https://mine.gradio.live"
    login = {"url": f"{website.url}/login", "data": {"username": "ann", "password": "a long secret"}}
    for host, origin, status in [
        ("mine.gradio.live", "https://mine.gradio.live", 200),
        (f"127.0.0.1:{website.port}", "https://mine.gradio.live", 200),  # a tunnel may give the page its local name
        ("mine.gradio.live", "https://evil.example", 403),
        ("mine.gradio.live", "https://mine.gradio.live.evil.example", 403),
        ("mine.gradio.live", "null", 403),
    ]:
        answer = http.post(**login, headers={"host": host, "origin": origin})
        assert answer.status_code == status, origin
        assert ("access-control-allow-origin" in answer.headers) <= (status == 200)


def test_browsers_are_told_to_ask_no_other_address(website: Website, http):
    policy = http.get(website.url).headers["content-security-policy"].split("; ")

    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not any("http" in rule or "*" in rule for rule in policy)


def test_variables_of_the_environment_open_nothing(desk: Desk, publish, http, monkeypatch, tmp_path: Path):
    (tmp_path / "secret.txt").write_text("secret")
    monkeypatch.setenv("GRADIO_ALLOWED_PATHS", str(tmp_path))
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    monkeypatch.setenv("GRADIO_SHARE", "True")
    website = publish(desk)

    assert website.socket.getsockname()[0] == "127.0.0.1"
    assert http.get(f"{website.url}/gradio_api/file={tmp_path}/secret.txt").status_code == 404


def test_who_has_no_account_sees_the_login_only(private: Website, http):
    assert http.get(f"{private.url}/config").status_code == 401
    assert "Say hello" not in http.get(private.url).text
    wrong = http.post(f"{private.url}/login", data={"username": "ann", "password": "another one"})
    assert wrong.status_code == 400
    assert http.post(f"{private.url}/login", data={"username": "ann", "password": "a long secret"}).status_code == 200
    assert http.get(f"{private.url}/config").status_code == 200


def test_a_port_in_use_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} of 127.0.0.1 cannot be used \(.*in use.*\): give another"):
            listen(port)
    with pytest.raises(ConfigError, match="port must be from 0 .* to 65535, got 70000"):
        listen(70000)


def test_a_page_without_accounts_is_not_shared(website: Website):
    with pytest.raises(ConfigError, match="a page is only shared with those who log in"):
        website.share()


def test_a_link_that_cannot_be_made_is_one_sentence(private: Website, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gradio.networking.GRADIO_API_SERVER", "http://127.0.0.1:1/")

    with pytest.raises(ConfigError, match=r"no share link could be made \(.*\); the page works without"):
        private.share()


def test_accounts_are_read_line_by_line(tmp_path: Path):
    path = tmp_path / "accounts.txt"
    path.write_text("ann:a long:secret\n\nben:another one\n")
    path.chmod(0o600)

    assert read_accounts(path) == [("ann", "a long:secret"), ("ben", "another one")]


def test_faults_of_accounts_are_named_together_without_the_password(tmp_path: Path):
    path = tmp_path / "accounts.txt"
    path.write_text("ann\nben:short\n:nobody knows\n")
    path.chmod(0o600)

    with pytest.raises(ConfigError) as caught:
        read_accounts(path)
    assert str(caught.value).splitlines() == [
        f"{path}:1 must be name:password",
        f"{path}:2 must have a password of at least 8 characters",
        f"{path}:3 must be name:password",
    ]
    path.write_text("\n")
    with pytest.raises(ConfigError, match="but it is empty"):
        read_accounts(path)
    tmp_path.chmod(0o700)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_accounts(tmp_path)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_accounts_that_others_can_read_or_write_are_refused(tmp_path: Path, mode: int):
    path = tmp_path / "accounts.txt"
    path.write_text("ann:a long secret\n")
    path.chmod(mode)

    with pytest.raises(ConfigError, match=r"can be read or changed by other users of this machine: run  chmod 600 "):
        read_accounts(path)
