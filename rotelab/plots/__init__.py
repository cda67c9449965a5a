"""Plotly figures from plain results; no torch, no gradio."""
