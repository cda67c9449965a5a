"""The page. Nothing outside this package imports gradio."""

from rotelab.ui.app import serve

__all__ = ["serve"]
