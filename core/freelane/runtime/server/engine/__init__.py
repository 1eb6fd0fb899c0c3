"""Has an OpenAI-compatible engine answer in the model's place: Ollama, vLLM, llama.cpp, another."""

from freelane.runtime.server.engine.runner import Engine

__all__ = ["Engine"]
