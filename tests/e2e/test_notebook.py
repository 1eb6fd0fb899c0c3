"""The same from a notebook, in a real kernel: objects show themselves as HTML."""

import subprocess
import sys
from pathlib import Path

import nbformat

CELLS = [
    "from freelane import Client\nclient = Client()\nclient",
    "job = client.jobs.train()\njob",
    "endpoint = client.endpoints.deploy(job.artifact, name='notebook', ttl='5m')\nendpoint",
    "import json\nrows = json.load(open('rows.json'))[:3]\nendpoint.predict(rows)",
    "endpoint.delete()\nclient.close()",
]


def test_a_notebook_trains_deploys_and_predicts(home, digits, left_running):
    path = digits / "digits.ipynb"
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS]), path
    )
    # In a process of its own: the kernel's client libraries leave sockets to the interpreter.
    subprocess.run(
        [Path(sys.executable).with_name("jupyter-execute"), "--inplace", path],
        env=home,
        check=True,
        capture_output=True,
        timeout=120,
    )
    shown = [
        output.data["text/html"]
        for cell in nbformat.read(path, as_version=4).cells
        for output in cell.outputs
        if output.output_type == "execute_result" and "text/html" in output.data
    ]
    assert len(shown) == 4
    assert "accuracy" in shown[1]
    assert "READY" in shown[2]
    assert "predictions" in shown[3]
    assert left_running() == []
