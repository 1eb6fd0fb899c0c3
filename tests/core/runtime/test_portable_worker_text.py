"""The text functions of a predict.py, as a worker is asked for them."""

import json
import types

import numpy as np
import pytest

from freelane.runtime.portable import frames, handlers, problems
from freelane.runtime.portable.desk import Desk

SAID = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]


@pytest.fixture
def desk(tmp_path):
    def make(script, **known):
        module = types.ModuleType("predict")
        vars(module).update(known)
        exec("def load(folder): return []\n" + script, vars(module))
        return Desk(handlers.find(module, "predict.py", tmp_path))

    return make


def generate(desk, messages=(), prompt=None, **parameters):
    """The pieces, and what the end says."""
    asked = {"messages": list(messages), "prompt": prompt, "parameters": parameters}
    items = desk.generate(json.dumps(asked).encode())
    return [json.loads(item) for item in items], json.loads(items.end)


def seen(desk):
    return desk._model._model


def ask(desk, *instances, **parameters):
    options = json.dumps(parameters).encode() if parameters else b""
    payload = frames.pack_rows([len(instances)], options, json.dumps(instances).encode())
    ((is_document, data),) = desk.rows(payload)
    return json.loads(data)["predictions"] if is_document else problems.read(data)


GENERATE = """
def generate(seen, messages, parameters):
    seen.append((messages, parameters))
    yield "Hel"
    yield "lo."
"""


def test_generate_writes_piece_by_piece(desk):
    made = desk(GENERATE)

    assert generate(made, SAID, temperature=0.5) == (["Hel", "lo."], {})

    assert seen(made) == [(SAID, {"temperature": 0.5})]
    assert made.hello == frames.Hello(
        style="native", batches=False, streams=False, generates=True, embeds=False, counts=False
    )


def test_a_bare_prompt_is_one_message_of_the_user(desk):
    made = desk(GENERATE)

    generate(made, prompt="Once upon")

    assert seen(made) == [([{"role": "user", "content": "Once upon"}], {})]


def test_generate_may_do_without_parameters(desk):
    made = desk("def generate(model, messages): return str(len(messages))")

    assert generate(made, SAID, temperature=1.0)[0] == ["2"]


@pytest.mark.parametrize(
    "answer",
    [
        "Hello.",
        ["Hel", "lo."],
        [{"text": "Hel"}, {"text": "lo."}],
        {"text": "Hello."},
        ("", "Hello.", ""),
        [np.str_("Hello.")],
    ],
)
def test_a_text_comes_in_many_forms(desk, answer):
    made = desk("def generate(m, messages, parameters): return answer", answer=answer)

    assert "".join(generate(made, SAID)[0]) == "Hello."


@pytest.mark.parametrize("answer", [3, None, [1], [{"words": "x"}], [b"x"]])
def test_what_is_no_text_is_an_error_of_the_model(desk, answer):
    made = desk("def generate(m, messages, parameters): return answer", answer=answer)

    with pytest.raises(problems.ModelError, match="the model wrote a"):
        generate(made, SAID)


def test_usage_is_what_the_model_says(desk):
    made = desk(
        """
def generate(m, messages, parameters):
    yield "Hi"
    yield {"usage": {"input_tokens": 12, "output_tokens": 3}}
def count_tokens(m, text): return 99
"""
    )

    pieces, end = generate(made, SAID)

    assert pieces == ["Hi"]
    assert end == {"usage": {"input_tokens": 12, "output_tokens": 3}}


def test_usage_is_counted_by_the_models_own_tokenizer(desk):
    made = desk(GENERATE + "def count_tokens(m, text): return len(text.split())")

    assert made.hello.counts
    assert generate(made, SAID)[1] == {"usage": {"input_tokens": 3, "output_tokens": 1}}


def test_a_count_that_fails_costs_the_usage_and_not_the_text(desk):
    made = desk(GENERATE + "def count_tokens(m, text): raise ValueError")

    assert generate(made, SAID) == (["Hel", "lo."], {})


def test_a_generator_that_fails_midway_says_so(desk):
    made = desk("def generate(m, messages):\n    yield 'a'\n    raise ValueError('half')")

    with pytest.raises(problems.ModelError, match="half"):
        generate(made, SAID)


def test_a_predict_that_streams_generates_from_one_instance(desk):
    made = desk(
        """
def predict(seen, instances, parameters):
    seen.append((instances, parameters))
    yield "Hel"
    yield {"text": "lo."}
"""
    )

    assert generate(made, SAID, max_tokens=9)[0] == ["Hel", "lo."]
    assert generate(made, SAID[1:])[0] == ["Hel", "lo."]
    assert generate(made, prompt="Once")[0] == ["Hel", "lo."]

    prompt = "system: Be brief.\nuser: Hello?\nassistant:"
    assert seen(made)[0] == ([{"messages": SAID, "prompt": prompt}], {"max_tokens": 9})
    assert [call[0][0]["prompt"] for call in seen(made)[1:]] == ["Hello?", "Once"]


def test_reading_no_further_closes_the_generator(desk):
    made = desk(
        """
def generate(seen, messages):
    try:
        yield "a"
        yield "b"
    finally:
        seen.append("closed")
"""
    )
    items = made.generate(json.dumps({"messages": SAID}).encode())
    next(items)

    items.close()

    assert seen(made) == ["closed"]


def test_a_script_with_generate_alone_answers_rows_with_texts(desk):
    made = desk(GENERATE)
    instances = ["Once", {"prompt": "Twice"}, {"messages": SAID}]

    assert ask(made, *instances, temperature=0.1) == ["Hello."] * 3

    assert [call[1] for call in seen(made)] == [{"temperature": 0.1}] * 3
    assert seen(made)[2][0] == SAID


@pytest.mark.parametrize(
    "instance",
    [
        3,
        None,
        [],
        {},
        {"prompt": 3},
        {"messages": []},
        {"messages": ["a"]},
        {"messages": [{"role": "tool", "content": "x"}]},
    ],
)
def test_an_instance_that_is_no_text_is_unprocessable(desk, instance):
    assert ask(desk(GENERATE), instance).status == 422


def test_text_functions_do_not_stand_in_the_way_of_predict(desk):
    made = desk(GENERATE + "def predict(m, rows): return [row * 2 for row in rows]")

    assert made.hello.batches
    assert made.hello.generates
    assert ask(made, 1, 2) == [2, 4]


@pytest.mark.parametrize("wrap", [list, np.array, tuple])
def test_embed_answers_a_vector_for_each_text(desk, wrap):
    made = desk(
        "def embed(model, texts): return wrap([[len(t) + 0.5, 1.0] for t in texts])", wrap=wrap
    )

    assert made.embed(b'{"texts": ["a", "bcd"]}') == b"[[1.5,1.0],[3.5,1.0]]"
    assert made.hello.embeds
    assert not made.hello.generates
    assert ask(made, "a", "bcd") == [[1.5, 1.0], [3.5, 1.0]]


def test_embed_may_take_parameters(desk):
    made = desk("def embed(model, texts, parameters): return [[parameters['d']]] * len(texts)")

    assert made.embed(b'{"texts": ["a"], "parameters": {"d": 2}}') == b"[[2]]"


@pytest.mark.parametrize(
    "vectors",
    [[[1.0]], [[1.0], [float("nan")]], [[1.0], ["x"]], [1.0, 2.0], "no", None, [[True], [False]]],
)
def test_vectors_that_are_none_are_an_error_of_the_model(desk, vectors):
    made = desk("def embed(model, texts): return vectors", vectors=vectors)

    with pytest.raises(problems.ModelError):
        made.embed(b'{"texts": ["a", "b"]}')


def test_tokens_are_counted_by_the_model_or_roughly(desk):
    own = desk(GENERATE + "def count_tokens(model, text): return len(text.split())")
    roughly = desk("def predict(model, rows): return rows")

    assert own.count(b'{"texts": ["one two", "three"]}') == b'{"tokens":3}'
    assert roughly.count(b'{"texts": ["12345678", "1", ""]}') == b'{"tokens":3}'
    assert not roughly.hello.counts


@pytest.mark.parametrize("number", [-1, 1.5, None, True])
def test_a_count_that_is_no_number_is_an_error_of_the_model(desk, number):
    made = desk(GENERATE + "def count_tokens(model, text): return number", number=number)

    with pytest.raises(problems.ModelError, match="count_tokens"):
        made.count(b'{"texts": ["a"]}')


def test_a_model_that_knows_no_text_says_so(desk):
    made = desk("def predict(model, rows): return rows")

    with pytest.raises(problems.Unprocessable, match="writes no text"):
        generate(made, SAID)
    with pytest.raises(problems.Unprocessable, match="makes no vectors"):
        made.embed(b'{"texts": ["a"]}')


def test_other_styles_know_no_text(desk):
    made = desk(GENERATE + "def model_fn(d): pass\ndef predict_fn(data, model): return data")

    assert made.hello.style == "sagemaker"
    assert not made.hello.generates


def test_a_script_that_only_counts_tokens_serves_nothing(desk):
    with pytest.raises(handlers.HandlerError, match=r"has no predict\(model, instances\)"):
        desk("def count_tokens(model, text): return 1")
