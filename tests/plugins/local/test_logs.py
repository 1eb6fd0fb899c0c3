import pytest

from freelane_local import logs
from freelane_local.logs import LogWriter, Mask


def everything(folder, *, final=True, after=0):
    lines, end = [], False
    while not end:
        page, reached, end = logs.read(folder, after=after, final=final)
        lines += page
        if reached == after and not end:
            break
        after = reached
    return lines


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def small(folder):
    writer = LogWriter(folder, segment_bytes=100, segments=3)
    yield writer
    writer.close()


def test_lines_come_back_in_order_over_many_files(folder, small):
    for number in range(12):
        small.write(f"line {number}, fifteen or so\n".encode())
    assert everything(folder) == [f"line {number}, fifteen or so" for number in range(12)]


def test_a_cursor_that_was_rotated_away_goes_on_at_the_oldest_and_says_so(folder, small):
    small.write(b"first\n")
    _, cursor, _ = logs.read(folder, after=0, final=False)
    small.write(b"".join(b"line %03d\n" % number for number in range(100)))
    lines = everything(folder, after=cursor)
    assert lines[0].endswith("bytes of older output were dropped here")
    dropped = int(lines[0].split()[1])
    assert dropped + sum(len(line) + 1 for line in lines[1:]) == 100 * 9
    assert lines[-1] == "line 099"
    assert len(list(folder.iterdir())) == 3


def test_a_half_line_waits_for_its_end_until_the_job_is_final(folder, small):
    small.write(b"whole\nhal")
    assert everything(folder, final=False) == ["whole"]
    small.write(b"f\nrest")
    assert everything(folder, final=False) == ["whole", "half"]
    assert everything(folder, final=True) == ["whole", "half", "rest"]


def test_an_endless_line_is_cut(folder):
    writer = LogWriter(folder)
    writer.write(b"x" * 150_000)
    writer.close()
    assert [len(line) for line in everything(folder, final=False)] == [65_536, 65_536]
    assert sum(len(line) for line in everything(folder, final=True)) == 150_000


def test_a_page_holds_at_most_a_thousand_lines(folder):
    writer = LogWriter(folder)
    writer.write(b"a\n" * 2500)
    writer.close()
    lines, after, end = logs.read(folder, after=0, final=True)
    assert (len(lines), end) == (1000, False)
    assert len(everything(folder, after=after)) == 1500


def test_what_a_progress_bar_overwrote_is_not_shown(folder, small):
    small.write(b"10%\r50%\r100%\ndone\r\n")
    assert everything(folder) == ["100%", "done"]


def test_bytes_that_are_no_text_do_not_break_a_log(folder, small):
    small.write(b"\xff\xfe\n")
    assert everything(folder) == ["\ufffd\ufffd"]


def test_an_empty_log_ends_only_with_its_job(folder):
    assert logs.read(folder, after=0, final=False) == ([], 0, False)
    assert logs.read(folder, after=0, final=True) == ([], 0, True)


def test_output_that_cannot_be_written_is_counted_and_the_run_goes_on(folder):
    folder.write_text("a file in the way")
    writer = LogWriter(folder)
    writer.write(b"12345\n")
    assert writer.lost_bytes == 6
    writer.close()


def test_a_second_writer_goes_on_where_the_first_was_killed(folder):
    for text in (b"one\n", b"two\n"):
        writer = LogWriter(folder)
        writer.write(text)
        writer.close()
    assert everything(folder) == ["one", "two"]


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_a_secret_is_hidden_however_the_output_is_cut(size):
    text = b"a hunter2-hunter2 b hunter2-hunt hunter2-hunter2" + b"\xffhunter2-\n"
    mask = Mask(["hunter2-hunter2", "hunter2-", "no", ""])
    shown = b"".join(mask(text[at : at + size]) for at in range(0, len(text), size)) + mask.rest()
    assert b"hunter2-hunter2" not in shown
    assert shown.startswith(b"a *** b ")
    assert shown.endswith(b"\xff***\n")


def test_output_without_secrets_is_passed_on_at_once():
    assert Mask([])(b"loading") == b"loading"
    assert Mask(["hunter2-hunter2"])(b"loading...") == b"loading..."
