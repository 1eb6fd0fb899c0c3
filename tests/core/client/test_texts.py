"""What a caller writes becomes one request."""

import pytest

from freelane.client.texts import asked
from freelane.errors import ConfigError
from freelane.model.generation import Message, Role


def test_a_text_alone_is_one_message_of_the_user():
    assert asked("Hello", system=None, drawn={}).messages == [Message(Role.USER, "Hello")]


def test_what_the_model_is_told_first_comes_before_all_messages():
    request = asked("Hello", system="Be brief.", drawn={})
    assert [message.role for message in request.messages] == [Role.SYSTEM, Role.USER]


def test_messages_are_ours_or_plain_objects():
    said = [Message(Role.USER, "Hello"), {"role": "assistant", "content": "Hi"}]
    assert asked(said, system=None, drawn={}).messages == [
        Message(Role.USER, "Hello"),
        Message(Role.ASSISTANT, "Hi"),
    ]


def test_a_single_stop_text_is_one_and_not_its_letters():
    assert list(asked("Hello", system=None, drawn={"stop": "END"}).sampling.stop) == ["END"]


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([], "there is no message"),
        ([{"role": "robot", "content": "x"}], "role 'robot'; there are system, user, assistant"),
        ([{"content": "x"}], "role None"),
        ([{"role": "user"}], "message of the user has no text"),
    ],
)
def test_a_message_of_another_form_is_refused(messages, why):
    with pytest.raises(ConfigError, match=why):
        asked(messages, system=None, drawn={})
