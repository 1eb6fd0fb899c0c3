"""OpenAI's text routes, both ways: chat completions, completions, embeddings, models.

Server: `decode_*` reads what is asked, `*_reply`, `encode_error` and `Writer` write the answer.
Client: `encode_*` writes what is asked, `decode_*` and `Pieces` read the answer.
"""

from freelane.wire.openai.asked import (
    CHAT_PATH,
    COMPLETION_PATH,
    EMBEDDINGS_PATH,
    MODELS_PATH,
    EmbeddingCall,
    GenerationCall,
    decode_chat,
    decode_completion,
    decode_embedding,
    encode_embedding,
    encode_generation,
)
from freelane.wire.openai.streams import (
    AnswerFailed,
    Pieces,
    Writer,
)
from freelane.wire.openai.told import (
    chat_reply,
    completion_reply,
    decode_embeddings,
    decode_error,
    decode_generation,
    embeddings_reply,
    encode_error,
    model_reply,
    models_reply,
)

__all__ = [
    "CHAT_PATH",
    "COMPLETION_PATH",
    "EMBEDDINGS_PATH",
    "MODELS_PATH",
    "AnswerFailed",
    "EmbeddingCall",
    "GenerationCall",
    "Pieces",
    "Writer",
    "chat_reply",
    "completion_reply",
    "decode_chat",
    "decode_completion",
    "decode_embedding",
    "decode_embeddings",
    "decode_error",
    "decode_generation",
    "embeddings_reply",
    "encode_embedding",
    "encode_error",
    "encode_generation",
    "model_reply",
    "models_reply",
]
