"""Renders what was found: notebooks as pages, Markdown, JUnit, annotations, PDF."""
