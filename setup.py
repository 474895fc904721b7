"""Packaging of Offerwright: the four flat packages, their templates, static files, catalogues and migrations."""

from setuptools import find_packages, setup

PACKAGES = ["engine", "optimizers", "experiments", "api"]

setup(
    packages=find_packages(include=[*PACKAGES, *[f"{name}.*" for name in PACKAGES]]),
    package_data={
        "engine": ["py.typed", "store/alembic.ini", "store/migrations/*.mako", "store/migrations/versions/*.py"],
        "optimizers": ["py.typed"],
        "experiments": ["py.typed"],
        "api": ["py.typed", "templates/**/*", "static/**/*", "translations/**/*"],
    },
)
