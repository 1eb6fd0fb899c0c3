import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from freelane.config.owner import owner_id
from freelane.errors import ConfigError, StateError

ASK = (
    "import sys; from pathlib import Path; from freelane.config.owner import owner_id;"
    "print(owner_id(Path(sys.argv[1])))"
)


def test_the_id_is_made_once_and_kept(user_file):
    owner = owner_id(user_file)
    assert re.fullmatch(r"[0-9a-f]{16}", owner)
    assert owner_id(user_file) == owner
    assert user_file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in user_file.parent.iterdir()] == ["config.toml"]


def test_the_users_own_lines_stay(user_file):
    user_file.parent.mkdir(parents=True)
    user_file.write_text('# mine\nprovider = "local"\n\n[guard]\npolicy = "free"  # strict\n')
    owner = owner_id(user_file)
    assert user_file.read_text() == (
        f'# mine\nprovider = "local"\nowner = "{owner}"\n\n[guard]\npolicy = "free"  # strict\n'
    )


def test_processes_that_ask_at_once_get_one_id(user_file):
    command = [sys.executable, "-c", ASK, str(user_file)]
    asking = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    answers = {process.communicate()[0].strip() for process in asking}
    assert [process.returncode for process in asking] == [0] * 6
    assert answers == {owner_id(user_file)}


def test_an_id_chosen_by_the_user_is_taken(user_file):
    user_file.parent.mkdir(parents=True)
    user_file.write_text('owner = "ci-team"\n')
    assert owner_id(user_file) == "ci-team"


@pytest.mark.parametrize(
    ("line", "message"),
    [("owner = 3", "owner should be a text"), ('owner = "A B"', "owner 'A B' is not a name")],
)
def test_an_id_that_is_no_name_is_refused_with_its_line(user_file, line, message):
    user_file.parent.mkdir(parents=True)
    user_file.write_text(f"\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        owner_id(user_file)
    assert str(caught.value).startswith(f"{user_file}:2: {message}")


def test_a_home_that_cannot_be_written_is_a_state_error(tmp_path):
    (tmp_path / "home").write_text("not a folder")
    with pytest.raises(StateError, match=r"config.toml: cannot be written: ") as caught:
        owner_id(tmp_path / "home" / "freelane" / "config.toml")
    assert caught.value.exit_code == 7


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without rights")
def test_a_read_only_home_is_a_state_error_unless_the_id_stands_there():
    code = (
        "import tomlkit, os; from pathlib import Path; from freelane.config.owner import owner_id\n"
        "from freelane.errors import StateError; os.setuid(65534)\n"
        "try: print(owner_id(Path('config.toml')))\n"
        "except StateError as error: print(error)"
    )

    def ask(folder: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    # Not pytest's own temporary folder, which another user may not enter.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        assert ask(folder) == "config.toml: cannot be written: Permission denied"
        (Path(folder) / "config.toml").write_text('owner = "abc"\n')
        assert ask(folder) == "abc"
