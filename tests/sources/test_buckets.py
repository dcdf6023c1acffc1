"""An S3 bucket and an SSH server as sources: real servers on this machine, the same bytes."""

import getpass
import importlib.util
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.source_examples import FORMS, as_zip, fetched, halves, tree
from tissue.common.errors import InputError

BUCKET = "tissue"
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
needs_s3 = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("moto", "flask", "s3fs"))),
    reason="needs moto[server] and s3fs: pip install -r requirements/test.txt",
)
needs_ssh = pytest.mark.skipif(
    not (SSHD and shutil.which("ssh-keygen") and importlib.util.find_spec("sshfs")),
    reason="needs an OpenSSH server (package openssh-server) and sshfs (requirements/ssh.txt)",
)
SOURCES = ["folder", "zip", "tar.gz", "folder of archives"]


def make(form: str, at: Path) -> Path:
    """A source of some form on this machine."""
    return FORMS[form](tree(), at) if form in FORMS else halves(tree(), at / "parts")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@needs_s3
class TestS3:
    @pytest.fixture(autouse=True)
    def environment(self, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
        import s3fs

        monkeypatch.setenv("AWS_ENDPOINT_URL", server)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "for-a-test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()

    def put(self, path: Path) -> str:
        """Copy a file or folder into the bucket, emptied before."""
        import boto3

        s3 = boto3.resource("s3")
        bucket = s3.create_bucket(Bucket=BUCKET)
        bucket.objects.all().delete()
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.is_file():
                bucket.upload_file(str(file), file.relative_to(path.parent).as_posix())
        return f"s3://{BUCKET}/{path.name}"

    @pytest.mark.parametrize("form", SOURCES)
    def test_same_bytes_as_from_a_folder(self, form: str, tmp_path: Path) -> None:
        local = make(form, tmp_path / "made")
        assert fetched(self.put(local), tmp_path) == fetched(local, tmp_path / "expected")

    def test_changed_object_is_fetched(self, tmp_path: Path) -> None:
        fetched(self.put(make("zip", tmp_path / "old")), tmp_path)
        local = as_zip(tree(per_class=3), tmp_path / "new/images.zip")
        assert fetched(self.put(local), tmp_path) == fetched(local, tmp_path / "expected")

    def test_no_such_bucket(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"s3://nowhere/a\.zip"):
            fetched("s3://nowhere/a.zip", tmp_path)


def keys(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
    subprocess.run(command, check=True)
    return folder / name


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def port(home: Path) -> Iterator[int]:
    host = keys(home / "server", "host")
    user = keys(home / ".ssh", "id_ed25519")
    shutil.copy(user.with_suffix(".pub"), home / "server/authorized")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = home / "server/config"
    config.write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {host}\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {home}/server/authorized\nStrictModes no\n"
        "PasswordAuthentication no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    key = host.with_suffix(".pub").read_text()
    (home / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{port} {key}")
    command = [str(SSHD), "-D", "-e", "-f", str(config)]
    with (home / "server/log").open("w") as log, subprocess.Popen(command, stderr=log) as sshd:
        for _ in range(100):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
        sshd.terminate()


@needs_ssh
class TestSsh:
    @pytest.fixture(autouse=True)
    def environment(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import sshfs

        monkeypatch.setenv("HOME", str(home))
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        sshfs.SSHFileSystem.clear_instance_cache()

    @pytest.mark.parametrize("form", SOURCES)
    @pytest.mark.parametrize("protocol", ["ssh", "sftp"])
    def test_same_bytes_as_from_a_folder(
        self, form: str, protocol: str, port: int, tmp_path: Path
    ) -> None:
        local = make(form, tmp_path / "made")
        got = fetched(f"{protocol}://{getpass.getuser()}@127.0.0.1:{port}{local}", tmp_path)
        assert got == fetched(local, tmp_path / "expected")

    def test_unknown_host_is_refused(self, home: Path, port: int, tmp_path: Path) -> None:
        local = make("zip", tmp_path / "made")
        known = home / ".ssh/known_hosts"
        before = known.read_text()
        known.write_text("")
        try:
            with pytest.raises(InputError, match="Host key is not trusted"):
                fetched(f"ssh://127.0.0.1:{port}{local}", tmp_path)
        finally:
            known.write_text(before)

    def test_missing_file(self, port: int, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"none\.zip"):
            fetched(f"ssh://127.0.0.1:{port}{tmp_path}/none.zip", tmp_path)
