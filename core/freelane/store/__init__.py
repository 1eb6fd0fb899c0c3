"""The database: its engine, its tables, its migrations."""
