"""Alembic's part: how an older Freelane's tables become this one's."""
