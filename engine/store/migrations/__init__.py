"""Migrations of the operational store, applied by `engine.store.schema.upgrade`."""
