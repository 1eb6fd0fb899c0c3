"""HTTP/1.1 for the server: an asyncio protocol of its own, as strict as `portable.messages`."""
