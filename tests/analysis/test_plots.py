from __future__ import annotations

from analysis.plots import javascript, runtime_colours


def test_colours_belong_to_runtimes_whatever_else_was_measured() -> None:
    alone, together = runtime_colours(["onnx"]), runtime_colours(["onnx", "pytorch", "new_a", "new_b"])
    assert alone["onnx"] == together["onnx"]
    assert len(set(together.values())) == 4


def test_the_script_defines_what_the_page_calls() -> None:
    assert "window.vegaEmbed" in javascript()
